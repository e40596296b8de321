"""Runs an emulator, `ministack` or `moto`, in its own process group for as long as standard input
stays open.

The pipe closes when the process at its other end lets go of it or dies, however it dies; then the
whole group ends, with the Lambda functions that the emulator started.
"""

import dataclasses
import json
import os
import re
import signal
import sys
import threading


def end_with_parent():
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


if os.getpgid(0) != os.getpid():
    sys.exit("not the leader of its own process group")
threading.Thread(target=end_with_parent, daemon=True).start()


# Services of which MiniStack takes one resource for another.
MISTAKEN = {"ecs", "events", "glue", "kafka", "lambda", "mq"}


def mend(maker):
    """Calls what `mend.py` has for an emulator."""
    for name, function in [*globals().items()]:
        if name.startswith(f"{maker}_"):
            function()


def ministack():
    from ministack import app
    from ministack.core import iam_evaluator

    # Where MiniStack does not know which resource a call is about, it judges a call on `*`, and would
    # refuse every statement that names a resource; and of some services it judges many calls on a
    # resource of another kind. What allows is taken to allow there, and the suite's own judge decides
    # about the resource; what denies a resource denies no call on another one.
    first_match = iam_evaluator._first_match

    def first_match_or_unknown(context, statements, effect):
        arn = context.resource_arn
        if effect == "Allow" and (arn == "*" or arn.split(":")[2] in MISTAKEN):
            anywhere = {"resources": ["*"], "not_resources": []}
            statements = [dataclasses.replace(one, **anywhere) for one in statements]
        return first_match(context, statements, effect)

    iam_evaluator._first_match = first_match_or_unknown
    mend("ministack")

    # AWS is spoken to by TLS, which the loopback connection stands for: a bucket that denies plain HTTP
    # (aws:SecureTransport) must stay reachable.
    pin_request_origin = app.pin_request_origin
    app.pin_request_origin = lambda source_ip, _tls: pin_request_origin(source_ip, True)

    # One line of JSON for each request, written before it is answered.
    answer = app.app
    log = os.open(os.environ["REQUEST_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    kept = int(os.environ.get("REQUEST_BODY", "256"))

    async def record_and_answer(scope, receive, send):
        if scope["type"] != "http" or scope["path"].startswith("/_ministack/"):
            return await answer(scope, receive, send)
        if scope["path"].startswith("/_stanch/"):
            return await directed(scope, receive, send)
        first = await receive()
        headers = dict(scope["headers"])
        key, region, of = signed_by(headers)
        line = {
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode("latin-1"),
            "target": headers.get(b"x-amz-target", b"").decode("latin-1"),
            "body": first.get("body", b"")[:kept].decode("latin-1"),
            "key": key,
            "region": region,
            "service": of,
        }
        os.write(log, json.dumps(line).encode() + b"\n")
        waiting = [first]

        async def receive_again():
            return waiting.pop() if waiting else await receive()

        if await befallen(line, send):
            return
        if of == "securityhub":
            return await security_hub(scope, receive_again, send, key, region)
        await answer(scope, receive_again, send)

    app.app = record_and_answer

    sys.argv = ["ministack"]
    app.main()


def moto():
    from moto.core.responses import BaseResponse
    from moto.iam import models
    from moto.server import main

    # A twelve-digit access key id acts as that account's root, as with MiniStack.
    BaseResponse.access_key_regex = re.compile("Credential=([A-Z0-9]{20}|[0-9]{12})/")
    account_of = models.get_account_id_from
    models.get_account_id_from = lambda key: key if len(key) == 12 else account_of(key)
    mend("moto")
    main(["-H", "127.0.0.1", "-p", os.environ["GATEWAY_PORT"]])


{"ministack": ministack, "moto": moto}[sys.argv[1]]()
