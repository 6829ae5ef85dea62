# What RT does whenever a ticket changes: it tells the field service app which one, signed as Standard Webhooks are.
# Admin › Scrips › Create: condition “On Transaction”, action “User Defined”, template “Blank”, stage “Normal”;
# this is the “Custom action commit code”. Address and secret come from RT_SiteConfig.pm:
#   Set(%FieldServiceApp, Address => 'https://field.example/hooks/rt', Secret => '…');
my %app    = RT->Config->Get('FieldServiceApp') or return 1;
my $body   = sprintf '{"ticket": "%d"}', $self->TicketObj->id;
my $id     = 'rt-' . $self->TransactionObj->id;
my $moment = time;
require Digest::SHA;
require MIME::Base64;
require LWP::UserAgent;
my $proof = MIME::Base64::encode_base64(Digest::SHA::hmac_sha256("$id.$moment.$body", $app{Secret}), '');
my $answer = LWP::UserAgent->new(timeout => 3)->post(
    $app{Address},
    'Content-Type'      => 'application/json',
    'webhook-id'        => $id,
    'webhook-timestamp' => $moment,
    'webhook-signature' => "v1,$proof",
    Content             => $body,
);
RT->Logger->warning('The field service app did not hear: ' . $answer->status_line) unless $answer->is_success;
return 1;
