# What an administrator would set up in Request Tracker for us, and some people to try it with (docs/ticket-stores.md).
# Prints their tokens as JSON. Its argument is the scrip's file; RT_SITE_CONFIG and RT_SITE_CONFIG_DIR say which database.
use strict;
use warnings;
use lib '/usr/share/request-tracker5/lib';
use RT -init;
use JSON ();

my $system = RT->SystemUser;

made('RT::Queue', Name => 'Field Service', Description => 'Visits on site', Lifecycle => 'default');

# For every queue, so that each test can have one of its own.
for my $name (qw(CustomerId AssetSerial ServiceRecordId Channel ServiceType Contact ContactPhone NamedEngineer)) {
    field($name, 'RT::Queue-RT::Ticket');
}
field('RecordId', 'RT::Queue-RT::Ticket-RT::Transaction');

# Tells us of every change, where RT_SiteConfig.pm says whom to tell.
made('RT::Scrip', Description => 'Tell the field service app', Queue => 0, Stage => 'TransactionCreate',
    ScripCondition => 'On Transaction', ScripAction => 'User Defined', Template => 'Blank',
    CustomPrepareCode => 'return 1;', CustomCommitCode => text_of($ARGV[0]));

my @look = qw(SeeQueue ShowTicket ShowTicketComments SeeCustomField);
my @work = (@look, qw(CreateTicket CommentOnTicket ReplyToTicket ModifyTicket ModifyCustomField SetInitialCustomField));
my %token;
$token{fieldapp} = person('fieldapp', 'UTC', \@work);
$token{readonly} = person('readonly', 'UTC', \@look);
$token{shanghai} = person('shanghai', 'Asia/Shanghai', \@work);
# May comment but not set custom fields: what is written then carries no mark of ours.
$token{unmarked} = person('unmarked', 'UTC', [grep { !/CustomField$/ || /^See/ } @work]);
# May comment and nothing else.
$token{commenter} = person('commenter', 'UTC', [@look, qw(CreateTicket CommentOnTicket ModifyCustomField SetInitialCustomField)]);
# May write comments and not see them.
$token{blind} = person('blind', 'UTC', [grep { $_ ne 'ShowTicketComments' } @work]);
# Somebody at the desk, and the administrator.
$token{agent} = person('agent', 'UTC', [@work, 'OwnTicket', 'DeleteTicket']);
$token{root} = token_of(loaded('RT::User', 'root'));
print JSON::encode_json(\%token);

sub made {
    my ($class, %with) = @_;
    my $object = $class->new($system);
    my ($ok, $says) = $object->Create(%with);
    die "$class $with{Name}: $says" unless $ok;
    return $object;
}

sub text_of {
    my ($path) = @_;
    open my $file, '<:encoding(UTF-8)', $path or die "$path: $!";
    local $/ = undef;
    return scalar <$file>;
}

sub loaded {
    my ($class, $name) = @_;
    my $object = $class->new($system);
    $object->Load($name);
    return $object;
}

sub field {
    my ($name, $lookup) = @_;
    my $field = made('RT::CustomField', Name => $name, Type => 'FreeformSingle', LookupType => $lookup);
    my ($ok, $says) = $field->AddToObject(RT::Queue->new($system));
    die "$name: $says" unless $ok;
    return;
}

sub person {
    my ($name, $zone, $rights) = @_;
    my $user = made('RT::User', Name => $name, EmailAddress => "$name\@it.example", Password => "the password of $name",
        Privileged => 1, Timezone => $zone);
    for my $right (@$rights) {
        my ($ok, $says) = $user->PrincipalObj->GrantRight(Right => $right, Object => $RT::System);
        die "$name, $right: $says" unless $ok;
    }
    return token_of($user);
}

sub token_of {
    my ($user) = @_;
    my ($id, $says, $token) = RT::AuthToken->new($system)->Create(Owner => $user->id, Description => 'Field service app');
    die "token: $says" unless $id;
    return $token;
}
