// Judges requests: one JSON object a line in, one a line out, in the same order, until the input ends.
//
// in:  {principal, account, action, resource, role, session}   (role and session: policy documents)
// out: {allowed} or {error}

import { createInterface } from 'node:readline'
import { runSimulation, runUnsafeSimulation } from '@cloud-copilot/iam-simulate'

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

// The reference does not tell these resources apart; the policies do not need it to.
const untold = ['no.resource.types', 'multiple.resource.types']

async function judge({ principal, account, action, resource, role, session }) {
  const [, partition, service] = resource.split(':')
  const simulation = {
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
  }
  const answer = await runSimulation(simulation, {})
  if (answer.resultType !== 'error') return { allowed: answer.overallResult === 'Allowed' }
  if (!untold.includes(answer.errors.message)) return { error: JSON.stringify(answer.errors) }
  // This way of asking leaves session policies out: each policy is asked about by itself.
  const allows = policy => runUnsafeSimulation({
    ...simulation,
    identityPolicies: [{ name: 'policy', policy }],
    sessionPolicy: undefined,
  }, {}) === 'Allowed'
  return { allowed: allows(role) && allows(session) }
}

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await judge(JSON.parse(line)).catch(error => ({ error: String(error) }))
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
