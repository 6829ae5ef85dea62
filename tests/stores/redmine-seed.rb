# Makes an empty database one that our tests can use, and prints what they must know of it as JSON. Run by `rails runner`.
$stdout = $stderr # what the migrations say is not the answer
ActiveRecord::Migration.verbose = false
ActiveRecord::Base.connection.migration_context.migrate
ActiveRecord::Base.descendants.each(&:reset_column_information)
Redmine::DefaultData::Loader.load('en')

Setting.rest_api_enabled = '1'
Setting.attachment_max_size = '5120'
Setting.attachment_extensions_denied = ''
Setting.notified_events = []
Setting.host_name = 'redmine.it.example'
Setting.app_title = 'Redmine of it.example'

admin = User.find_by(login: 'admin')
admin.password = admin.password_confirmation = 'the password of admin'
admin.must_change_passwd = false
admin.save!

def user(login, lastname)
  made = User.new(firstname: login.capitalize, lastname: lastname, mail: "#{login}@it.example", language: 'en')
  made.login = login
  made.password = made.password_confirmation = "the password of #{login}"
  made.save!
  made
end

writes = %i[view_issues add_issues edit_issues add_issue_notes view_private_notes]
agents = Role.create!(name: 'Field service app', permissions: writes, issues_visibility: 'all')
agents.copy_workflow_rules(Role.find_by!(name: 'Manager'))
roles = {
  'fieldapp' => agents,
  'agent' => Role.find_by!(name: 'Manager'),
  'readonly' => Role.create!(name: 'Reader', permissions: %i[view_issues], issues_visibility: 'all'),
  # May do everything but has no way from one status to another.
  'stuck' => Role.create!(name: 'Stuck', permissions: writes, issues_visibility: 'all'),
  # May edit, but what it says is dropped without a word.
  'mute' => Role.create!(name: 'Mute', permissions: writes - %i[add_issue_notes], issues_visibility: 'all')
}
roles['mute'].copy_workflow_rules(Role.find_by!(name: 'Manager'))
users = roles.keys.to_h { |login| [login, user(login, 'Example')] }

# Another time zone than the server's, the newest note on top, and errors in Chinese: nothing of it may confuse the adapter.
users['fieldapp'].update!(language: 'zh')
users['fieldapp'].pref.update!(time_zone: 'Pacific Time (US & Canada)', others: { comments_sorting: 'desc' })

project = Project.create!(name: 'Field Service', identifier: 'field-service', is_public: false, enabled_module_names: %w[issue_tracking])
project.trackers = Tracker.all
names = %w[CustomerId AssetSerial Contact ContactPhone Channel ServiceType ServiceRecordId]
fields = names.map do |name|
  IssueCustomField.create!(name: name, field_format: 'string', is_for_all: false, is_filter: true, searchable: true,
                           visible: true, trackers: Tracker.all)
end
# For all projects: Redmine tells of it only in a ticket.
IssueCustomField.create!(name: 'Region', field_format: 'string', is_for_all: true, is_filter: false, visible: true,
                         trackers: Tracker.all)
project.issue_custom_fields = fields
users.each { |login, each| Member.create!(project: project, principal: each, roles: [roles[login]]) }

STDOUT.puts({
  version: Redmine::VERSION.to_s,
  project: project.id,
  keys: { admin: admin.api_key }.merge(users.transform_values(&:api_key)),
  fields: fields.to_h { |each| [each.name, each.id] }
}.to_json)
