"""The statements of labd, carried out on the emulated server's catalogue; everything else is a syntax error."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

from tests.fakes.neo4j_catalogue import Catalogue, Graph, Refusal

NAME = r"`((?:[^`]|``)+)`"
ANY_NAME = r"(?:`(?:[^`]|``)+`|\w+)"
ADMINISTRATION = ("CREATE DATABASE", "DROP DATABASE", "CREATE ALIAS", "ALTER ALIAS", "DROP ALIAS", "SHOW ALIASES")
WRITING = re.compile(r"\b(CREATE|MERGE|SET|DELETE|REMOVE|DROP|ALTER)\b")
Answer = tuple[str, list[str], list[list[Any]]]


def bare(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name


class Statements:
    """One connection's statements.

    Args:
        reads_only: The transaction's access mode.
    """

    def __init__(self, catalogue: Catalogue, database: str, reads_only: bool) -> None:
        self.catalogue, self.database, self.reads_only = catalogue, database, reads_only

    def run(self, statement: str, parameters: dict[str, Any]) -> Answer:
        if statement.startswith("EXPLAIN "):
            kind = "s" if statement[8:].startswith(ADMINISTRATION) or "dbms." in statement else "r"
            return ("rw" if WRITING.search(statement) else kind), [], []
        if statement.startswith(ADMINISTRATION):
            return self._administer(statement)
        if statement.startswith("SHOW DATABASES YIELD name, type, currentStatus, statusMessage, default"):
            return "s", ["name", "type", "currentStatus", "statusMessage", "default"], self.catalogue.show()
        if statement == "SHOW TRANSACTIONS YIELD database, transactionId":
            return "r", ["database", "transactionId"], [list(row) for row in self.catalogue.transactions]
        if statement.startswith("CALL dbms.components()"):
            rows = [["Cypher", "25", ""], ["Neo4j Kernel", self.catalogue.version, self.catalogue.edition]]
            return "s", ["name", "version", "edition"], rows
        if statement.startswith("CALL dbms.queryJmx($query)"):
            return "s", ["name", "attributes"], self._beans(parameters["query"])
        if statement.startswith("CALL gds.debug.arrow()"):
            return self._arrow()
        if WRITING.search(statement) and self.reads_only:
            raise Refusal("Neo.ClientError.Statement.AccessMode", "Writing in read access mode not allowed.")
        return self._graph(statement, parameters, self.catalogue.resolve(self.database))

    def _administer(self, statement: str) -> Answer:
        if self.catalogue.edition == "community":
            word = "NotSystemDatabaseError" if statement.startswith("SHOW") else "UnsupportedAdministrationCommand"
            raise Refusal(f"Neo.ClientError.Statement.{word}", f"Unsupported administration command: {statement}")
        if match := re.fullmatch(rf"CREATE DATABASE {NAME} IF NOT EXISTS WAIT \d+ SECONDS", statement):
            self.catalogue.create_database(bare(f"`{match[1]}`"))
        elif match := re.fullmatch(rf"DROP DATABASE {NAME} IF EXISTS DESTROY DATA WAIT \d+ SECONDS", statement):
            self.catalogue.drop_database(match[1])
        elif match := re.fullmatch(rf"CREATE ALIAS {NAME} FOR DATABASE {NAME}", statement):
            self.catalogue.point(match[1], match[2], there=False)
        elif match := re.fullmatch(rf"ALTER ALIAS {NAME} SET DATABASE TARGET {NAME}", statement):
            self.catalogue.point(match[1], match[2], there=True)
        elif match := re.fullmatch(rf"DROP ALIAS {NAME} IF EXISTS FOR DATABASE", statement):
            self.catalogue.aliases.pop(match[1], None)
        elif statement == "SHOW ALIASES FOR DATABASE YIELD name, database, location":
            rows = [[name, target, "local"] for name, target in self.catalogue.aliases.items()]
            return "s", ["name", "database", "location"], rows
        else:
            raise syntax(statement)
        return "s", [], []

    def _beans(self, query: str) -> list[list[Any]]:
        if query == "java.lang:type=Memory":
            return [[query, self.catalogue.heap()]] if self.catalogue.heap_used else []
        return [[name, value] for name, value in self.catalogue.beans.items() if fnmatch.fnmatch(name, query)]

    def _arrow(self) -> Answer:
        if self.catalogue.arrow == "absent" or self.catalogue.edition == "community":
            raise Refusal("Neo.ClientError.Procedure.ProcedureNotFound", "There is no procedure `gds.debug.arrow`")
        is_on = self.catalogue.arrow == "running"
        return "r", ["running", "enabled"], [[is_on, is_on]]

    def _graph(self, statement: str, parameters: dict[str, Any], graph: Graph) -> Answer:
        if match := re.fullmatch(r"RETURN (\$?\w+)(?: AS (\w+))?", statement):
            value = parameters[match[1][1:]] if match[1].startswith("$") else int(match[1])
            return "r", [match[2] or match[1]], [[value]]
        if match := re.fullmatch(r"UNWIND range\(1, ?(\d+)\) AS (\w+) RETURN \2(?: AS (\w+))?", statement):
            return "r", [match[3] or match[2]], [[number] for number in range(1, int(match[1]) + 1)]
        if statement.startswith("CALL db.labels()"):
            return "r", ["label"], [[label] for label in graph.labels]
        if statement.startswith("CALL db.relationshipTypes()"):
            return "r", ["relationshipType"], [[kind] for kind in graph.types]
        if match := re.fullmatch(rf"MATCH \(n(?::({ANY_NAME}))?\) RETURN count\(n\)(?: AS (\w+))?", statement):
            number = graph.nodes if match[1] is None else graph.labels[bare(match[1])]
            return "r", [match[2] or "count(n)"], [[number]]
        if match := re.fullmatch(
            rf"MATCH \(\)-\[r(?::({ANY_NAME}))?\]->\(\) RETURN count\(r\)(?: AS (\w+))?", statement
        ):
            number = graph.relationships if match[1] is None else graph.types[bare(match[1])]
            return "r", [match[2] or "count(r)"], [[number]]
        if match := re.fullmatch(
            rf"MATCH \(n:({ANY_NAME})\) RETURN (n|n\.{ANY_NAME})(?: AS (\w+))?(?: ORDER BY (?:\w+|n\.{ANY_NAME}))?",
            statement,
        ):
            return self._match(match, graph)
        return self._load(statement, parameters, graph)

    def _match(self, match: re.Match[str], graph: Graph) -> Answer:
        from tests.fakes.bolt_server import node

        label, rows = bare(match[1]), []
        for number, (labels, properties) in enumerate(graph.rows.values()):
            if label in labels:
                rows.append(
                    [
                        node(number, sorted(labels), properties)
                        if match[2] == "n"
                        else properties.get(bare(match[2][2:]))
                    ]
                )
        if match[2] != "n":
            rows.sort(key=lambda row: (row[0] is None, row[0]))
        return "r", [match[3] or match[2]], rows

    def _load(self, statement: str, parameters: dict[str, Any], graph: Graph) -> Answer:
        if match := re.fullmatch(
            rf"CREATE CONSTRAINT {NAME} IF NOT EXISTS FOR \(n:{NAME}\) REQUIRE n\.{NAME} IS UNIQUE", statement
        ):
            graph.unique = bare(f"`{match[3]}`")
            return "s", [], []
        if re.fullmatch(rf"DROP CONSTRAINT {NAME} IF EXISTS", statement):
            graph.unique = None
            return "s", [], []
        if match := re.fullmatch(
            rf"UNWIND \$rows AS row CREATE \(n((?::{NAME})+)\) SET n = row\.p "
            rf"SET n\.{NAME} = row\.id RETURN count\(n\)",
            statement,
        ):
            labels = frozenset(bare(name[0]) for name in re.finditer(r"`(?:[^`]|``)+`", match[1]))
            key = bare(f"`{match[3]}`")
            for row in parameters["rows"]:
                if row["id"] in graph.rows:
                    raise Refusal(
                        "Neo.ClientError.Schema.ConstraintValidationFailed", f"Node({row['id']}) exists already"
                    )
                kept = {name: value for name, value in row["p"].items() if value is not None}
                graph.rows[row["id"]] = (labels, {**kept, key: row["id"]})
                graph.labels.update(labels)
                graph.nodes += 1
            return "rw", ["count(n)"], [[len(parameters["rows"])]]
        if match := re.fullmatch(
            rf"UNWIND \$rows AS row MATCH \(a:{NAME} \{{{NAME}: row\.s\}}\) MATCH \(b:{NAME} \{{{NAME}: row\.t\}}\) "
            rf"CREATE \(a\)-\[r:{NAME}\]->\(b\) SET r = row\.p RETURN count\(r\)",
            statement,
        ):
            made = sum(1 for row in parameters["rows"] if row["s"] in graph.rows and row["t"] in graph.rows)
            graph.types[bare(f"`{match[5]}`")] += made
            graph.relationships += made
            return "rw", ["count(r)"], [[made]]
        if match := re.fullmatch(
            rf"MATCH \(n:{NAME}\) WITH n LIMIT (\d+) REMOVE n:{NAME} RETURN count\(n\)", statement
        ):
            label, left = bare(f"`{match[1]}`"), int(match[2])
            some = [key for key, (labels, _) in graph.rows.items() if label in labels][:left]
            for key in some:
                labels, properties = graph.rows[key]
                graph.rows[key] = (labels - {label}, properties)
            graph.labels[label] -= len(some)
            return "rw", ["count(n)"], [[len(some)]]
        raise syntax(statement)


def syntax(statement: str) -> Refusal:
    return Refusal("Neo.ClientError.Statement.SyntaxError", f"Invalid input: the emulator does not know {statement}")
