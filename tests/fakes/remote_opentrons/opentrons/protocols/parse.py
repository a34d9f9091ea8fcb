"""Reads a protocol, or raises."""


class MalformedPythonProtocolError(Exception):
    """As the real one."""


def parse(protocol_file, filename=None, extra_labware=None, extra_data=None):
    try:
        code = compile(protocol_file, filename, "exec")
    except SyntaxError as fault:
        raise MalformedPythonProtocolError(str(fault)) from fault
    if "apiLevel" not in str(protocol_file):
        raise MalformedPythonProtocolError("apiLevel not declared")
    return code
