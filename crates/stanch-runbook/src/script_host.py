"""Runs scripts of aws:executeScript: one JSON request a line in, one JSON answer a line out.

This process stays warm and never runs a script itself: each runs in a fork of its own, so that none
sees what another left behind, nor its credentials. A fork ends with this process.
"""

import contextlib
import io
import json
import os
import sys
import threading
import traceback

OUTPUT = 10_000


def call(request):
    """Calls the handler of a script."""
    os.environ.update(request["environment"])
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            # A module of its own, so that classes and pickles of the script find themselves.
            scope = {"__name__": "script", "__builtins__": __builtins__}
            exec(compile(request["source"], "<script>", "exec"), scope)
            handler = scope.get(request["handler"])
            if not callable(handler):
                raise NameError("the script defines no function `%s`" % request["handler"])
            value = handler(request["payload"], request["context"])
        return {"returns": json.loads(json.dumps(value, default=str))}
    except BaseException as error:  # a script may also exit, or raise what is no Exception
        message = traceback.format_exception_only(type(error), error)[-1].strip()
        trace = traceback.format_exc()
        return {"raises": message, "output": (printed.getvalue() + trace)[-OUTPUT:]}


def fork(request, keep, watch, out):
    """Runs `call` in a fork; the answer comes through a pipe, the end of this process by another."""
    answer, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(answer)
        os.close(keep)
        # Neither the requests to come nor the answers are the script's.
        os.close(out.fileno())
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

        def follow():
            os.read(watch, 1)
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()
        with os.fdopen(tell, "w") as pipe:
            json.dump(call(request), pipe)
        os._exit(0)
    os.close(tell)
    with os.fdopen(answer) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text or json.dumps({"raises": "the script ended its process", "output": ""})


def main():
    # What scripts and their subprocesses print must not get between the answers.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    watch, keep = os.pipe()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if "boto3" in request["source"]:
            with contextlib.suppress(ImportError):
                import boto3  # noqa: F401  (warm for the forks to come)
        forks = hasattr(os, "fork")
        text = fork(request, keep, watch, out) if forks else json.dumps(call(request))
        out.write(text + "\n")
        out.flush()
        if not forks:
            return


main()
