<?php
// Verify webhooks of FlowNurture. One file to copy, PHP 8.0 or newer, nothing to install.
//
//   $body = file_get_contents('php://input'); // the bytes as they came, before they are parsed
//   $eventId = FlowNurture\verify($_SERVER['HTTP_X_FLOWNURTURE_SIGNATURE'] ?? '', $body, ['whsec_…']);

declare(strict_types=1);

namespace FlowNurture;

/** Answer it with 400, and do nothing of what the body says. Its message: unsigned, mismatch, stale or future. */
final class NotVerified extends \Exception
{
}

/** The id of the event, if the body was signed with one of your secrets at most $tolerance seconds ago; throws NotVerified. */
function verify(string $header, string $body, array $secrets, int $tolerance = 300, ?int $now = null): string
{
    $at = $id = '';
    $signatures = [];
    foreach (explode(',', $header) as $field) {
        [$name, $value] = explode('=', $field, 2) + [1 => ''];
        if ($name === 't') {
            $at = $value;
        } elseif ($name === 'id') {
            $id = $value;
        } elseif ($name === 'v1') {
            $signatures[] = $value;
        }
    }
    if (!preg_match('/^[0-9]{1,12}$/D', $at) || $id === '' || $signatures === []) {
        throw new NotVerified('unsigned');
    }

    if (!anySignature($signatures, "$id.$at.$body", $secrets)) {
        throw new NotVerified('mismatch');
    }

    $age = ($now ?? time()) - (int) $at;
    if ($age > $tolerance) {
        throw new NotVerified('stale');
    }
    if ($age < -$tolerance) {
        throw new NotVerified('future');
    }
    return $id;
}

function anySignature(array $signatures, string $content, array $secrets): bool
{
    foreach ($secrets as $secret) {
        $key = base64_decode(substr($secret, strlen('whsec_')), true);
        // Whoever knows that it is empty could sign with an empty key.
        if (!str_starts_with($secret, 'whsec_') || $key === false || $key === '') {
            throw new \InvalidArgumentException('A secret is whsec_ and base64.');
        }
        $mine = hash_hmac('sha256', $content, $key);
        foreach ($signatures as $theirs) {
            if (hash_equals($mine, $theirs)) {
                return true;
            }
        }
    }
    return false;
}

// php verify.php vectors.json
if (PHP_SAPI === 'cli' && realpath($_SERVER['SCRIPT_FILENAME']) === __FILE__) {
    foreach (json_decode(file_get_contents($argv[1]), true)['vectors'] as $vector) {
        $header = $vector['headers']['X-FlowNurture-Signature'] ?? '';
        try {
            verify($header, $vector['body'], $vector['secrets'], 300, $vector['now']);
            $outcome = 'verified';
        } catch (NotVerified $refused) {
            $outcome = $refused->getMessage();
        }
        echo "{$vector['name']}: $outcome\n";
    }
}
