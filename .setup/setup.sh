#!/bin/sh
# Bring this clone from nothing to ready. Runs again in about a second when nothing has changed.
#
#   .setup/setup.sh run     what `make run` needs
#   .setup/setup.sh test    the same, and what the tests and checks need
#
# Everything lands in this folder (.venv, .node, node_modules, static/vendor, var/fonts), except the few
# Debian packages that are missing; those need root or sudo, and without it their line is printed to type.
set -eu
cd "$(dirname "$0")/.."
cd "$(pwd -P)"

level=${1:-run}
debian_missing='' # packages to install
PATH=$PATH:/usr/sbin:/sbin

main() {
    one_at_a_time
    system_packages
    python_environment
    python_packages
    node_packages
    .venv/bin/python .setup/vendor.py
    catalogues
    if [ "$level" = test ]; then browser && ticket_stores; fi
}

say() { printf '· %s\n' "$*"; }

give_up() {
    printf '\n%s\n' "$@" >&2
    exit 1
}

# Two set-ups in one clone would fight over .venv.
one_at_a_time() {
    command -v flock >/dev/null 2>&1 || return 0
    exec 9<.setup/setup.sh
    flock -n 9 || { say 'Another set-up is at work in this clone: waiting for it.' && flock 9; }
}

# --- Debian packages: only what is missing ---------------------------------------------------------------------

system_packages() {
    needs_python
    needs_library libpango-1.0.so.0 libpango-1.0-0
    needs_library libpangoft2-1.0.so.0 libpangoft2-1.0-0
    # WeasyPrint works without it, but takes eight times as long for each PDF.
    needs_library libharfbuzz-subset.so.0 libharfbuzz-subset0
    if [ "$level" = test ]; then
        needs_command pdftotext poppler-utils
        has_postgresql || needs postgresql
        if is_debian; then .setup/find-chromium >/dev/null || needs chromium; fi
    fi
    [ -n "$debian_missing" ] || return 0
    install_debian_packages
}

needs() { debian_missing="$debian_missing $*"; }
needs_command() { command -v "$1" >/dev/null 2>&1 || needs "$2"; }
needs_library() {
    command -v ldconfig >/dev/null 2>&1 || return 0 # not Linux: checked by loading WeasyPrint, below
    ldconfig -p | grep -qF "$1" || needs "$2"
}
needs_python() {
    if venv_usable; then return 0; fi
    if ! find_python >/dev/null; then
        needs python3 python3-venv ca-certificates
        if old_python; then needs python3.11 python3.11-venv; fi
    elif ! "$(find_python)" -c 'import ensurepip, venv' 2>/dev/null; then
        needs "$("$(find_python)" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')"
    fi
}

# Debian keeps PostgreSQL's programs by version, outside the PATH.
has_postgresql() { command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }

is_debian() { grep -qs '^ID=debian' /etc/os-release; }

install_debian_packages() {
    command -v apt-get >/dev/null 2>&1 || { without_apt && return 0; }
    can_be_root || { without_root && return 0; }
    say "Debian packages:$debian_missing"
    $as_root apt-get update -qq || say 'The package lists could not be renewed; trying with the old ones.'
    # shellcheck disable=SC2086 # both are lists of words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $debian_missing \
        </dev/null >"$(log apt)" 2>&1 || { tail -n 20 "$(log apt)" >&2 && without_root; }
}

# Sets as_root to what makes a command root's.
can_be_root() {
    if [ "$(id -u)" = 0 ]; then
        as_root=''
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as_root='sudo -n'
    else
        return 1
    fi
}

# Without root: what only makes things slower may stay away, the rest is named and needed.
without_root() {
    line="sudo apt-get install --no-install-recommends$debian_missing"
    case "$debian_missing" in
    ' libharfbuzz-subset0' | ' postgresql' | ' libharfbuzz-subset0 postgresql')
        say "PDFs will be slow, or the tests on PostgreSQL will fail, until someone types:  $line"
        return 0
        ;;
    esac
    give_up 'These Debian packages are missing and could not be installed from here. Type this, then try again:' "    $line"
}

without_apt() {
    case "$(uname -s)" in
    Darwin) say 'On macOS, PDFs and the tests need:  brew install python pango poppler' ;;
    *) say "Please install what Debian calls:$debian_missing" ;;
    esac
}

log() { mkdir -p var/log && echo "var/log/setup-$1.log"; }

# --- Python ----------------------------------------------------------------------------------------------------

find_python() {
    for name in python3 python3.13 python3.12 python3.14 python3.11; do
        path=$(command -v "$name" 2>/dev/null) || continue
        if modern "$path"; then
            echo "$path"
            return 0
        fi
    done
    return 1
}

modern() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
old_python() { command -v python3 >/dev/null 2>&1; }

# A virtual environment knows its own place: one that was moved or copied here is made anew.
venv_usable() { [ -x .venv/bin/python ] && modern .venv/bin/python && grep -qsF "$PWD/.venv" .venv/bin/activate; }

python_environment() {
    if ! venv_usable; then
        python=$(find_python) || give_up 'Python 3.11 or newer is needed and was not found.'
        say "Python environment .venv ($("$python" --version))"
        "$python" -m venv --clear .venv
    fi
    same .venv/.uv-stamp "$(hash_of .setup/requirements-uv.txt)" && [ -x .venv/bin/uv ] && return 0
    say 'uv, which installs the Python packages'
    .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
        -r .setup/requirements-uv.txt
    hash_of .setup/requirements-uv.txt >.venv/.uv-stamp
}

python_packages() {
    wanted=$(level_of .venv/.stamp)
    case "$wanted" in
    test) lock=.setup/requirements-dev.txt ;;
    *) lock=.setup/requirements.txt ;;
    esac
    same .venv/.stamp "$wanted $(hash_of "$lock")" && return 0
    say "Python packages ($lock)"
    use_pip_mirror
    .venv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes "$lock"
    .venv/bin/python -c 'import weasyprint' 2>"$(log weasyprint)" || {
        cat "$(log weasyprint)" >&2
        give_up 'WeasyPrint, which makes the PDFs, could not be loaded (see above). It needs the Pango library:' \
            '    Debian, Ubuntu:  sudo apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0' \
            '    macOS:           brew install pango   (and DYLD_FALLBACK_LIBRARY_PATH="$(brew --prefix)/lib")'
    }
    echo "$wanted $(hash_of "$lock")" >.venv/.stamp
}

# uv does not read pip's settings: someone whose pip uses a mirror means uv too.
use_pip_mirror() {
    [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ] || return 0
    mirror=${PIP_INDEX_URL:-$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)}
    [ -z "$mirror" ] || export UV_DEFAULT_INDEX="$mirror"
}

# --- Browser libraries, fonts, JavaScript checkers -------------------------------------------------------------

node_packages() {
    if [ -d .node ] && ! grep -qsF "$PWD/.node" .node/bin/activate; then rm -rf .node node_modules/.stamp; fi # moved
    wanted=$(level_of node_modules/.stamp)
    same node_modules/.stamp "$wanted $(hash_of package-lock.json)" && return 0
    find_node
    say 'Browser libraries and fonts (npm)'
    case "$wanted" in
    test) omit='' ;;
    *) omit=--omit=dev ;;
    esac
    npm ci --ignore-scripts --no-audit --no-fund $omit >"$(log npm)" 2>&1 || {
        cat "$(log npm)" >&2
        give_up 'The browser libraries could not be installed (see above).'
    }
    echo "$wanted $(hash_of package-lock.json)" >node_modules/.stamp
}

find_node() {
    if [ -x .node/bin/node ]; then PATH=$PWD/.node/bin:$PATH; fi
    if node_usable; then return 0; fi
    say 'Node.js, into .node'
    use_pip_mirror
    .venv/bin/uv venv --quiet --clear --python .venv/bin/python .node
    .venv/bin/uv pip sync --quiet --python .node/bin/python --require-hashes .setup/requirements-node.txt
    PATH=$PWD/.node/bin:$PATH
    node_usable || give_up 'Node.js 20.19 or newer, with npm, is needed and could not be installed.'
}

node_usable() {
    command -v npm >/dev/null 2>&1 && node 2>/dev/null -e '
        const [major, minor] = process.versions.node.split(".").map(Number);
        process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)'
}

# --- Translations ----------------------------------------------------------------------------------------------

catalogues() {
    for po in fieldapp/translations/*/LC_MESSAGES/*.po; do
        [ -f "$po" ] || continue
        mo=${po%.po}.mo
        if [ "$mo" -nt "$po" ]; then continue; fi
        .venv/bin/pybabel --quiet compile --input-file "$po" --output-file "$mo"
    done
}

# --- A browser for the tests -----------------------------------------------------------------------------------

browser() {
    .setup/find-chromium >/dev/null && return 0
    say 'Chromium (the one that Playwright brings)'
    with_deps=''
    if [ "$(id -u)" = 0 ]; then with_deps=--with-deps; fi
    .venv/bin/playwright install $with_deps chromium >"$(log chromium)" 2>&1 || tail -n 20 "$(log chromium)" >&2
    .setup/find-chromium >/dev/null || give_up 'The browser tests need Chromium. Type this, then try again:' \
        '    sudo apt-get install chromium        (Debian)' \
        '    .venv/bin/playwright install --with-deps chromium        (Ubuntu and others)' \
        'or name one that is there already:  CHROMIUM=/path/to/chrome make test'
}

# --- Ticket stores for the tests: programs only, each test process starts its own on loopback ------------------------

# Without them the tests against them are skipped, so this may fail; it is tried once for the same list.
ticket_stores() {
    is_debian || return 0
    stores=''
    installed request-tracker5 && installed rt5-standalone || stores='request-tracker5 rt5-db-sqlite rt5-standalone'
    installed redmine && installed puma || stores="$stores redmine redmine-sqlite puma"
    if [ -z "$stores" ] || same .venv/.stores-stamp "$stores"; then return 0; fi
    stores_line="sudo apt-get install --no-install-recommends$(answered "$stores")"
    say "Ticket stores to test with: $stores"
    if can_be_root && without_services install_stores; then return 0; fi
    echo "$stores" >.venv/.stores-stamp
    say "They could not be installed, so the tests with them are skipped. By hand:  $stores_line"
}

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# The same packages with answers to what they would ask for: no database of theirs, and something that can send mail.
answered() {
    printf ' %s dbconfig-no-thanks' "$*"
    [ -e /usr/sbin/sendmail ] || printf ' msmtp-mta'
}

# --no-remove: a machine that has a database set-up or a mail server of its own keeps it.
install_stores() {
    $as_root apt-get update -qq || say 'The package lists could not be renewed; trying with the old ones.'
    quietly ruby-bundler || return 1
    # Ruby's security updates bring a newer Bundler, which does not take Debian's gems for installed.
    bundler=$(ls /usr/share/rubygems-integration/all/specifications | sed -n 's/^bundler-\(.*\)\.gemspec$/\1/p')
    # shellcheck disable=SC2046,SC2086 # lists of words
    quietly $(answered $stores)
}

quietly() {
    $as_root env DEBIAN_FRONTEND=noninteractive ${bundler:+BUNDLER_VERSION="$bundler"} \
        apt-get install -qq -y --no-install-recommends --no-remove "$@" </dev/null >>"$(log apt)" 2>&1
}

# Runs a command while packages may not start the services that they bring, nor at the next boot.
without_services() {
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
        $as_root chmod 755 $policy
        trap '$as_root rm -f $policy' EXIT
    fi
    "$@" || return 1
    if command -v systemctl >/dev/null 2>&1; then
        $as_root systemctl disable --quiet request-tracker5 msmtpd 2>/dev/null || true
    fi
}

# --- Stamps: what was installed, by the hash of its lock file --------------------------------------------------

same() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

# What was once set up for tests stays so.
level_of() {
    if grep -qs '^test ' "$1"; then echo test; else echo "$level"; fi
}

hash_of() {
    if command -v sha256sum >/dev/null 2>&1; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi | cut -d' ' -f1
}

main
