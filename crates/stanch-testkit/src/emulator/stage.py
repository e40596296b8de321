# What happens in AWS without anyone's request, and what goes wrong there, as a test directs it over
# `/_stanch/…`: events of AWS's own services, accidents of requests, and Security Hub, of which
# MiniStack has nothing.

import asyncio
import re as _re

ACCIDENTS = []
FINDINGS = {}
HUBS = set()


def signed_by(headers):
    """Access key id, region and service of a signed request."""
    scope = _re.search(
        rb"Credential=([^/, ]+)/[^/, ]+/([^/, ]+)/([^/, ]+)/aws4_request", headers.get(b"authorization", b"")
    )
    return tuple(part.decode("latin-1") for part in scope.groups()) if scope else ("", "", "")


async def body_of(receive):
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def say(send, status, body, headers=()):
    said = [(b"content-length", str(len(body)).encode())]
    said += [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": said})
    await send({"type": "http.response.body", "body": body})


async def directed(scope, receive, send):
    """`POST /_stanch/event`: an event, whole, of a service of AWS; it goes to the bus that `bus` names.
    `POST /_stanch/accidents`: what befalls requests from now on, in place of what did.
    `POST /_stanch/reveal`: the hidden messages of a queue are delivered again now.
    `GET /_stanch/findings`: what Security Hub was told of each finding."""
    told = json.loads(await body_of(receive) or b"null")
    what = scope["path"].removeprefix("/_stanch/")
    if what == "event":
        happen(told)
    elif what == "accidents":
        ACCIDENTS[:] = told
    elif what == "reveal":
        for queue in service("sqs")._queues._data.values():
            if queue["attributes"]["QueueArn"] == told:
                for message in queue["messages"]:
                    message["visible_at"] = min(message["visible_at"], time.time())
        service("lambda_svc")._esm_wake.set()
    elif what != "findings":
        return await say(send, 404, b"{}")
    await say(send, 200, json.dumps(FINDINGS).encode())


def happen(event):
    """Only a service puts events of `aws.*` on a bus
    (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html)."""
    from ministack.core.responses import request_scope

    bus = event.pop("bus", "default")
    record = {
        "EventId": event["id"],
        "Source": event["source"],
        "DetailType": event["detail-type"],
        "Detail": json.dumps(event["detail"]),
        "EventBusName": bus,
        "Time": event["time"],
        "Resources": event.get("resources", []),
        "Account": event["account"],
        "Region": event["region"],
    }
    with request_scope(event["account"], event["region"]):
        service("eventbridge")._dispatch_event(record)


async def befallen(line, send):
    """Holds or refuses a request that an accident fits, unless an account's root makes it: that is who
    looks. True if it is answered."""
    if line["key"].isdigit():
        return False
    text = "{method} {path}?{query} {target} {body}".format(**line)
    begun = [accident for accident in ACCIDENTS if "after" not in accident]
    for accident in ACCIDENTS:
        if accident.get("after", "\0") in text:
            del accident["after"]
    for accident in begun:
        fits = accident["times"] > 0 and all(
            accident.get(name) in (None, line[name]) for name in ("service", "region")
        )
        if fits and accident["contains"] in text:
            accident["times"] -= 1
            await asyncio.sleep(accident.get("seconds", 0))
            if "status" in accident:
                kind = "application/xml" if accident["body"].startswith("<") else "application/x-amz-json-1.0"
                await say(send, accident["status"], accident["body"].encode(), [("content-type", kind)])
                return True
            return False
    return False


async def security_hub(scope, receive, send, key, region):
    """EnableSecurityHub, DescribeHub, CreateActionTarget, BatchUpdateFindings and GetFindings
    (https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_Operations.html)."""
    from ministack.core import responses

    asked = json.loads(await body_of(receive) or b"{}")
    account = key if key.isdigit() else responses._account_from_sts_session(key)
    arn, status = f"arn:aws:securityhub:{region}:{account}", 200
    match scope["method"], scope["path"]:
        case "POST", "/accounts":
            HUBS.add((account, region))
            answer = {}
        case "GET", "/accounts" if (account, region) in HUBS:
            answer = {"HubArn": f"{arn}:hub/default"}
        case "POST", "/actionTargets" if (account, region) in HUBS:
            answer = {"ActionTargetArn": f"{arn}:action/custom/{asked['Id']}"}
        case _, "/accounts" | "/actionTargets":
            status, answer = 401, {"Message": f"Account {account} is not subscribed to AWS Security Hub"}
        case _, "/findings/batchupdate":
            named = asked["FindingIdentifiers"]
            for finding in named:
                FINDINGS.setdefault(finding["Id"], []).append(
                    {name: asked[name] for name in ("Note", "Workflow", "UserDefinedFields") if name in asked}
                )
            answer = {"ProcessedFindings": named, "UnprocessedFindings": []}
        case _, "/findings":
            answer = {"Findings": []}
        case _:
            status, answer = 404, {"Message": "not played here"}
    headers = [("content-type", "application/json")]
    if status == 401:
        headers.append(("x-amzn-errortype", "InvalidAccessException"))
    await say(send, status, json.dumps(answer).encode(), headers)


