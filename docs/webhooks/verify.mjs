// Verify webhooks of FlowNurture. One file to copy, Node 18 or newer, nothing to install.
//
//   const eventId = verify(request.headers['x-flownurture-signature'], body, ['whsec_…'])
//
// `body` is a Buffer of the bytes as they came, before they are parsed: express.raw({ type: '*/*' }), not express.json().

import { createHmac, timingSafeEqual } from 'node:crypto'
import { readFileSync, realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Answer it with 400, and do nothing of what the body says. `reason`: unsigned, mismatch, stale or future. */
export class NotVerified extends Error {
  constructor(reason) {
    super(reason)
    this.reason = reason
  }
}

/** The id of the event, if the body was signed with one of your secrets at most `tolerance` seconds ago; throws NotVerified. */
export function verify(header, body, secrets, tolerance = 300, now = Date.now() / 1000) {
  const fields = (header ?? '').split(',').map((field) => {
    const equals = field.indexOf('=')
    return [field.slice(0, equals), field.slice(equals + 1)]
  })
  const { t, id } = Object.fromEntries(fields)
  const signatures = fields.filter(([name]) => name === 'v1').map(([, value]) => Buffer.from(value))
  if (!/^[0-9]{1,12}$/.test(t ?? '') || !id || signatures.length === 0) throw new NotVerified('unsigned')

  const expected = secrets.map((secret) => {
    return Buffer.from(createHmac('sha256', keyOf(secret)).update(`${id}.${t}.`).update(body).digest('hex'))
  })
  const same = (mine, theirs) => mine.length === theirs.length && timingSafeEqual(mine, theirs)
  if (!expected.some((mine) => signatures.some((theirs) => same(mine, theirs)))) throw new NotVerified('mismatch')

  if (now - Number(t) > tolerance) throw new NotVerified('stale')
  if (Number(t) - now > tolerance) throw new NotVerified('future')
  return id
}

function keyOf(secret) {
  // Whoever knows that it is empty could sign with an empty key.
  if (!/^whsec_[A-Za-z0-9+/]+=*$/.test(secret)) throw new TypeError('A secret is whsec_ and base64.')
  return Buffer.from(secret.slice('whsec_'.length), 'base64')
}

function outcome(vector) {
  try {
    verify(vector.headers['X-FlowNurture-Signature'], Buffer.from(vector.body), vector.secrets, 300, vector.now)
    return 'verified'
  } catch (refused) {
    if (!(refused instanceof NotVerified)) throw refused
    return refused.reason
  }
}

// node verify.mjs vectors.json
if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  for (const vector of JSON.parse(readFileSync(process.argv[2], 'utf8')).vectors) {
    console.log(`${vector.name}: ${outcome(vector)}`)
  }
}
