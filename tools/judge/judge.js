// Judges requests: one JSON object a line in, one a line out, in the same order, until the input ends.
//
// in:  {principal, account, action, resource, role, session}   (role and session: policy documents)
// out: {allowed} or {error}

import { createInterface } from 'node:readline'
import { runSimulation } from '@cloud-copilot/iam-simulate'

// What a key's policy says unless its owner wrote another: the account's IAM policies decide.
// https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
const keyPolicy = (account, partition) => ({
  Version: '2012-10-17',
  Statement: [{
    Effect: 'Allow',
    Principal: { AWS: `arn:${partition}:iam::${account}:root` },
    Action: 'kms:*',
    Resource: '*',
  }],
})

async function judge({ principal, account, action, resource, role, session }) {
  const [, partition, service] = resource.split(':')
  const answer = await runSimulation({
    request: {
      principal,
      action,
      resource: { resource, accountId: account },
      contextVariables: {},
    },
    identityPolicies: [{ name: 'role', policy: role }],
    sessionPolicy: session,
    serviceControlPolicies: [],
    resourceControlPolicies: [],
    ...(service === 'kms' && { resourcePolicy: keyPolicy(account, partition) }),
  }, {})
  if (answer.resultType === 'error') return { error: JSON.stringify(answer.errors) }
  return { allowed: answer.overallResult === 'Allowed' }
}

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await judge(JSON.parse(line)).catch(error => ({ error: String(error) }))
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
