"""Writes .proto files from a table of Pylon's interface, independent of the files in proto/.

The table (one row a field, enum value, empty message or method) is the published interface as plain facts; what is made
here is compiled by protoc into the client that the tests use, so that the server is checked against that interface and
not against its own files.

usage: make_protos.py TABLE.csv OUTPUT_DIRECTORY
"""

import csv
import os
import sys

WELL_KNOWN = {
    "google.protobuf.StringValue": "google/protobuf/wrappers.proto",
    "google.protobuf.BoolValue": "google/protobuf/wrappers.proto",
    "google.protobuf.UInt32Value": "google/protobuf/wrappers.proto",
    "google.protobuf.UInt64Value": "google/protobuf/wrappers.proto",
    "google.protobuf.Int32Value": "google/protobuf/wrappers.proto",
    "google.protobuf.Int64Value": "google/protobuf/wrappers.proto",
    "google.protobuf.BytesValue": "google/protobuf/wrappers.proto",
    "google.protobuf.Timestamp": "google/protobuf/timestamp.proto",
    "google.protobuf.Empty": "google/protobuf/empty.proto",
}


def package_of(name):
    parts = name.split(".")
    return ".".join(p for p in parts if p[0].islower())


class Message:
    def __init__(self):
        self.fields = []
        self.enum_values = []
        self.children = {}


def main(table, out):
    packages = {}
    methods = {}

    def node(full_name):
        package = package_of(full_name)
        here = packages.setdefault(package, Message())
        for part in full_name[len(package) + 1 :].split("."):
            here = here.children.setdefault(part, Message())
        return here

    with open(table, newline="") as rows:
        for row in csv.DictReader(rows):
            if row["kind"] == "field":
                node(row["full_name"]).fields.append(row)
            elif row["kind"] == "enum":
                node(row["full_name"]).enum_values.append(row)
            elif row["kind"] == "message":
                node(row["full_name"])
            elif row["kind"] == "rpc":
                methods.setdefault(package_of(row["full_name"]), {}).setdefault(row["full_name"].rsplit(".", 1)[1], []).append(row)
            else:
                sys.exit(f"unknown kind in {table}: {row['kind']}")

    files = {}
    for package in sorted(set(packages) | set(methods)):
        imports = set()
        body = []

        def use(type_name):
            if type_name in WELL_KNOWN:
                imports.add(WELL_KNOWN[type_name])
            elif "." in type_name and package_of(type_name) != package:
                imports.add(package_of(type_name) + ".proto")
            return ("." + type_name) if "." in type_name else type_name

        def write(name, message, indent):
            pad = "  " * indent
            if message.enum_values:
                body.append(f"{pad}enum {name} {{")
                for value in message.enum_values:
                    body.append(f"{pad}  {value['member']} = {value['number']};")
                body.append(pad + "}")
                return
            body.append(f"{pad}message {name} {{")
            for child, inner in message.children.items():
                write(child, inner, indent + 1)
            oneofs = {}
            for field in message.fields:
                option = " [jstype = JS_STRING]" if field["jstype_string"] == "yes" else ""
                label = field["label"] + " " if field["label"] else ""
                line = f"{label}{use(field['type'])} {field['member']} = {field['number']}{option};"
                if field["oneof"]:
                    oneofs.setdefault(field["oneof"], []).append(line)
                else:
                    body.append(f"{pad}  {line}")
            for oneof, lines in oneofs.items():
                body.append(f"{pad}  oneof {oneof} {{")
                body.extend(f"{pad}    {line}" for line in lines)
                body.append(f"{pad}  }}")
            body.append(pad + "}")

        for name, message in packages.get(package, Message()).children.items():
            write(name, message, 0)
        for service, rows in methods.get(package, {}).items():
            body.append(f"service {service} {{")
            for row in rows:
                request, response = (use(t.strip()) for t in row["type"].split("->"))
                client = "stream " if "client-stream" in row["label"] else ""
                server = "stream " if "server-stream" in row["label"] else ""
                body.append(f"  rpc {row['member']}({client}{request}) returns ({server}{response});")
            body.append("}")
        head = ['syntax = "proto3";', f"package {package};"] + [f'import "{i}";' for i in sorted(imports)]
        files[package + ".proto"] = "\n".join(head + body) + "\n"

    os.makedirs(out, exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(out, name), "w") as target:
            target.write(text)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
