"""Prints which operations of AWS the installed emulators have: a line each of service, emulator and
operations, tab-separated, as boto3 names them.

moto's are the methods of its response classes and, for S3, what its table names. MiniStack's are the operations that the source of a
service names, in a table of handlers or as a function: what it does with the rest is an error.
"""

import ast
import importlib
import inspect
import pathlib

import botocore.session
from botocore import xform_name

SESSION = botocore.session.get_session()
SERVICES = SESSION.get_available_services()

# Services whose requests reach the code of another, which has operations of the same names.
MINISTACK_NOT = {"elb", "s3control"}

# Modules of MiniStack that go by paths; what they have is listed in their documentation.
MINISTACK_BY_PATH = {"ses_v2"}

# Operations whose functions have other names.
MINISTACK_MORE = {
    "cloudfront": {"ListTagsForResource"},
    "lambda": {"UpdateFunctionCode", "UpdateFunctionConfiguration"},
}

# Services that another one of moto's answers.
MOTO_ELSEWHERE = {"docdb": "rds", "neptune": "rds"}


def ministack():
    import ministack
    from ministack.app import SERVICE_REGISTRY

    folder = pathlib.Path(ministack.__file__).parent / "services"
    modules = {}
    for name, config in SERVICE_REGISTRY.items():
        for alias in (name, *config.get("aliases", ())):
            modules.setdefault(alias, []).extend([config["module"], *config.get("sub_modules", ())])
    for service in SERVICES:
        if service in MINISTACK_NOT:
            continue
        model = SESSION.get_service_model(service)
        names = (service, model.signing_name, model.endpoint_prefix)
        found = next((modules[name] for name in names if name in modules), None)
        if found is not None:
            said = set().union(*(words(folder / module) for module in found))
            said |= MINISTACK_MORE.get(service, set())
            yield service, [o for o in model.operation_names if o in said or function(o) in said]


def words(module):
    """The texts and the names of the functions in a module."""
    files = module.rglob("*.py") if module.is_dir() else [module.with_suffix(".py")]
    for file in files:
        tree = ast.parse(file.read_text())
        if file.stem in MINISTACK_BY_PATH:
            yield from (ast.get_docstring(tree) or "").replace(",", " ").replace(".", " ").split()
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield function(node.name)


def function(name):
    """A function's or an operation's name without what the emulators leave out or add."""
    name = name.lower().replace("_", "").replace("bucket", "")
    return "def " + name.removesuffix("configuration")


def moto():
    from moto.backends import list_of_moto_modules
    from moto.core.responses import BaseResponse
    from moto.core.utils import method_names_from_class

    methods = {}
    for module in list_of_moto_modules():
        try:
            responses = importlib.import_module(f"moto.{module}.responses")
        except ModuleNotFoundError:
            # It has none, or needs what is not installed.
            continue
        for _, response in inspect.getmembers(responses, inspect.isclass):
            if issubclass(response, BaseResponse) and response.__module__ == responses.__name__:
                service = response().boto3_service_name
                methods.setdefault(service, set()).update(method_names_from_class(response))
    # S3's operations are in a table.
    s3 = pathlib.Path(inspect.getfile(importlib.import_module("moto.s3"))).parent / "responses"
    methods["s3"].update(words(s3))
    methods["s3"].update(function(word) for word in [*methods["s3"]])
    for service in SERVICES:
        said = methods.get(MOTO_ELSEWHERE.get(service, service))
        if said is not None:
            names = SESSION.get_service_model(service).operation_names
            yield service, [o for o in names if {o, xform_name(o), function(o)} & said]


rows = [
    f"{service}\t{emulator.__name__}\t{' '.join(sorted(operations))}"
    for emulator in (ministack, moto)
    for service, operations in emulator()
    if operations
]
print("service\temulator\toperations", *sorted(rows), sep="\n")
