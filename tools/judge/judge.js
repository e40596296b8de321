// Judges requests: one JSON object a line in, one a line out, in the same order, until the input ends.
//
// in:  {principal, account, action, resource, role, session, boundary, organization, context}
//      (role and session: policy documents; boundary and organization, a service control policy, if there are any;
//      context: condition keys and their values, if any)
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

async function judge({ principal, account, action, resource, role, session, boundary, organization, context }) {
  const [, partition, service] = resource.split(':')
  const simulation = {
    request: {
      principal,
      action,
      resource: { resource, accountId: account },
      contextVariables: context ?? {},
    },
    identityPolicies: [{ name: 'role', policy: role }],
    sessionPolicy: session,
    serviceControlPolicies: organization ? [{ orgIdentifier: 'root', policies: [{ name: 'organization', policy: organization }] }] : [],
    ...(boundary && { permissionBoundaryPolicies: [{ name: 'boundary', policy: boundary }] }),
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
    permissionBoundaryPolicies: undefined,
    serviceControlPolicies: [],
  }, {}) === 'Allowed'
  return { allowed: [role, session, boundary, organization].filter(Boolean).every(allows) }
}

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await judge(JSON.parse(line)).catch(error => ({ error: String(error) }))
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
