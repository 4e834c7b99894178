# frozen_string_literal: true

# Verify webhooks of FlowNurture. One file to copy, Ruby 3.0 or newer, nothing to install.
#
#   body = request.body.read # the bytes as they came, before they are parsed; in Rails request.raw_post
#   event_id = FlowNurture.verify(request.env["HTTP_X_FLOWNURTURE_SIGNATURE"], body, ["whsec_…"])

require "json"
require "openssl"

module FlowNurture
  # Answer it with 400, and do nothing of what the body says. Its message: unsigned, mismatch, stale or future.
  class NotVerified < StandardError; end

  # The id of the event, if the body was signed with one of your secrets at most `tolerance` seconds ago.
  def self.verify(header, body, secrets, tolerance: 300, now: Time.now.to_i)
    fields = header.to_s.split(",").map { |field| field.split("=", 2) }
    at, id = fields.to_h { |name, value| [name, value.to_s] }.values_at("t", "id")
    signatures = fields.filter_map { |name, value| value.to_s if name == "v1" }
    unsigned = !at.to_s.match?(/\A[0-9]{1,12}\z/) || id.to_s.empty? || signatures.empty?
    raise NotVerified, "unsigned" if unsigned

    content = "#{id}.#{at}.".b + body.b
    expected = secrets.map { |secret| OpenSSL::HMAC.hexdigest("SHA256", key(secret), content) }
    same = expected.product(signatures).any? { |mine, theirs| OpenSSL.secure_compare(mine, theirs) }
    raise NotVerified, "mismatch" unless same

    age = now - at.to_i
    raise NotVerified, "stale" if age > tolerance
    raise NotVerified, "future" if age < -tolerance

    id
  end

  def self.key(secret)
    # Whoever knows that it is empty could sign with an empty key.
    raise ArgumentError, "a secret is whsec_ and base64" unless secret.match?(/\Awhsec_./)

    secret.delete_prefix("whsec_").unpack1("m0")
  end
  private_class_method :key
end

# ruby verify.rb vectors.json
if $PROGRAM_NAME == __FILE__
  JSON.parse(File.read(ARGV.fetch(0), encoding: "UTF-8"))["vectors"].each do |vector|
    header = vector["headers"]["X-FlowNurture-Signature"]
    outcome = begin
      FlowNurture.verify(header, vector["body"], vector["secrets"], now: vector["now"])
      "verified"
    rescue FlowNurture::NotVerified => e
      e.message
    end
    puts "#{vector['name']}: #{outcome}"
  end
end
