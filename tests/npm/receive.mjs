// Says of each delivery that it is given, one a line, whether npm's standardwebhooks verifies it.

import { createInterface } from 'node:readline'

import { Webhook } from 'standardwebhooks'

for await (const line of createInterface({ input: process.stdin })) {
  const { secret, headers, body } = JSON.parse(line)
  let outcome = 'verified'
  try {
    new Webhook(secret).verify(Buffer.from(body, 'base64'), headers)
  } catch {
    outcome = 'refused'
  }
  console.log(outcome)
}
