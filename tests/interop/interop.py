"""The collector beside programs of other makes.

OpenTelemetry's own SDK for Python sends all three signals, over gRPC and over HTTP; the query API has to give them back as they were sent. A
receiver of another make (Rotel) gets what the collector forwards, and passes it on to a second collector: what arrives there has to be the same. The
official client of the Model Context Protocol lists and calls the tools of `observastack-ctl mcp`.

    interop.py COLLECTOR CTL    (the programs observastack-collector and observastack-ctl; `cargo xtask test --lane interop` does the rest)

Prints a line for each test, why one failed, and totals, in the form of Rust's test programs.
"""

import json
import os
import re
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

import agent
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

SPANS = 500
RECORDS = 50
POINTS = 3


def free_ports(count):
    """Ports that nobody listens on, all different."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait(what, condition, seconds=30):
    """Waits until a condition gives something."""
    end = time.monotonic() + seconds
    while True:
        try:
            value, why = condition(), None
            if value:
                return value
        except (OSError, AssertionError) as error:
            why = error
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s ({why})")
        time.sleep(0.02)


class Program:
    """A process of ours, ended when it is over."""

    def __init__(self, *words):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(words, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")


class Collector(Program):
    """A collector with a store of its own."""

    def __init__(self, path, *more):
        self.grpc, self.http, self.query, self.metrics = free_ports(4)
        self.store = tempfile.TemporaryDirectory()
        addresses = {"otlp-grpc": self.grpc, "otlp-http": self.http, "query": self.query, "metrics": self.metrics}
        words = [word for name, port in addresses.items() for word in (f"--{name}", f"127.0.0.1:{port}")]
        super().__init__(path, *words, "--store-dir", self.store.name, *more)
        wait(f"the collector answers ({self.said()})", lambda: self.ask("/api/services"))

    def ask(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.query}{path}?{query}", timeout=10) as answer:
            return json.load(answer)

    def count(self, name, signal):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.search(rf'^observastack_collector_{name}_items_total{{signal="{signal}"}} (\d+)', text, re.M)
        return int(found[1]) if found else 0


def exporters(protocol, collector):
    """The SDK's own, as a user would set them up."""
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as logs, metric_exporter, trace_exporter

        options = {"endpoint": f"http://127.0.0.1:{collector.grpc}", "insecure": True}
        return (
            trace_exporter.OTLPSpanExporter(**options),
            logs.OTLPLogExporter(**options),
            metric_exporter.OTLPMetricExporter(**options),
        )
    from opentelemetry.exporter.otlp.proto.http import Compression, _log_exporter as logs, metric_exporter, trace_exporter

    base, gzip = f"http://127.0.0.1:{collector.http}", Compression.Gzip
    return (
        trace_exporter.OTLPSpanExporter(f"{base}/v1/traces", compression=gzip),
        logs.OTLPLogExporter(f"{base}/v1/logs", compression=gzip),
        metric_exporter.OTLPMetricExporter(f"{base}/v1/metrics", compression=gzip),
    )


def send(protocol, collector):
    """One trace with many spans and records, and some data points; the trace's id."""
    spans, records, points = exporters(protocol, collector)
    resource = Resource.create({"service.name": "their-shop", "service.instance.id": protocol, "deployment": "ä & <b>"})
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(spans))
    logs = LoggerProvider(resource=resource)
    logs.add_log_record_processor(BatchLogRecordProcessor(records))
    meters = MeterProvider([PeriodicExportingMetricReader(points, export_interval_millis=3_600_000)], resource=resource)
    tracer, logger = traces.get_tracer("their.tracer"), logs.get_logger("their.logger")
    counter = meters.get_meter("their.meter").create_counter("their.things")
    for number in range(POINTS):
        counter.add(number + 1, {"number": number})
    with tracer.start_as_current_span("GET /things", kind=SpanKind.SERVER) as root:
        trace_id = f"{root.get_span_context().trace_id:032x}"
        root.set_attributes({"http.request.method": "GET", "list": ["a", "b"], "share": 0.5, "number": 7, "flag": True})
        for number in range(SPANS - 2):
            with tracer.start_as_current_span(f"step {number}") as step:
                step.add_event("looked", {"at": number})
                if number < RECORDS:
                    logger.emit(body=f"step {number} is done", severity_number=SeverityNumber.WARN, attributes={"n": number})
        with tracer.start_as_current_span("SELECT things", kind=SpanKind.CLIENT) as failed:
            failed.set_attribute("db.system.name", "postgresql")
            failed.set_status(Status(StatusCode.ERROR, "the table is gone"))
    for provider in (traces, logs, meters):
        provider.shutdown()
    return trace_id


def whole(collector, trace_id):
    """The trace, once all of it is there."""

    def asked():
        found = collector.ask(f"/api/traces/{trace_id}")
        return found if len(found["spans"]) >= SPANS else None

    return wait("the whole trace is stored", asked)


def same_as_sent(collector, trace_id, protocol):
    """What was sent is there, all of it, as it was sent."""
    spans = {span["operation"]: span for span in whole(collector, trace_id)["spans"]}
    assert len(spans) == SPANS, f"{len(spans)} spans"
    root, failed, step = spans["GET /things"], spans["SELECT things"], spans["step 3"]
    assert root["parent_span_id"] is None and root["kind"] == "server" and root["status"] == "unset", root
    assert root["scope"] == "their.tracer" and root["service"] == "their-shop", root
    expected = {"http.request.method": "GET", "list": ["a", "b"], "share": 0.5, "number": 7, "flag": True}
    assert root["attributes"] == expected, root
    assert root["resource"]["deployment"] == "ä & <b>" and root["resource"]["service.instance.id"] == protocol, root
    assert failed["kind"] == "client" and failed["status"] == "error", failed
    assert failed["status_message"] == "the table is gone", failed
    assert step["parent_span_id"] == root["span_id"] and step["events"][0]["name"] == "looked", step
    assert all(span["duration_ns"] <= root["duration_ns"] for span in spans.values())

    def records():
        found = collector.ask("/api/logs", trace_id=trace_id, limit=1_000)["logs"]
        return found if len(found) >= RECORDS else None

    found = wait("all records are stored", records)
    bodies = {record["body"] for record in found}
    assert bodies == {f"step {number} is done" for number in range(RECORDS)}, bodies
    record = next(record for record in found if record["body"] == "step 3 is done")
    assert record["level"] == "warn" and record["attributes"]["n"] == 3, record
    assert record["span_id"] == step["span_id"], (record, step)


def sdk_sends(collector_path, protocol):
    with Collector(collector_path) as collector:
        same_as_sent(collector, send(protocol, collector), protocol)
        for signal, sent in (("traces", SPANS), ("logs", RECORDS), ("metrics", POINTS)):
            accepted = collector.count("accepted", signal)
            assert accepted == sent, f"{accepted} of {sent} {signal} were accepted"
        found = collector.ask("/api/traces", service="their-shop", status="error", attribute="db.system.name=postgresql")
        assert len(found["traces"]) == 1 and found["traces"][0]["spans"] == SPANS, found
        calls = collector.ask("/api/map")
        assert "postgresql" in json.dumps(calls), calls


def sdk_over_grpc_sends_all_signals_and_they_come_back_as_sent(collector_path):
    sdk_sends(collector_path, "grpc")


def sdk_over_http_with_gzip_sends_all_signals_and_they_come_back_as_sent(collector_path):
    sdk_sends(collector_path, "http")


def rotel():
    """The program of the package, which pip installs without leave to run it."""
    path = os.path.join(sysconfig.get_path("purelib"), "rotel", "rotel-agent")
    os.chmod(path, 0o755)
    return path


def a_receiver_of_another_make_gets_what_is_forwarded_and_nothing_is_changed(collector_path):
    with Collector(collector_path) as last:
        grpc, http = free_ports(2)
        words = [
            *("start", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}", "--otlp-http-endpoint", f"127.0.0.1:{http}"),
            *("--exporter", "otlp", "--otlp-exporter-protocol", "http"),
            *("--otlp-exporter-endpoint", f"http://127.0.0.1:{last.http}"),
        ]
        with Program(rotel(), *words) as receiver:
            wait(f"the receiver listens ({receiver.said()})", lambda: socket.create_connection(("127.0.0.1", http), 1).close() is None)
            base = f"http://127.0.0.1:{http}/v1"
            with Collector(collector_path, "--forward-traces", f"{base}/traces", "--forward-logs", f"{base}/logs") as first:
                trace_id = send("grpc", first)
                same_as_sent(first, trace_id, "grpc")
                try:
                    same_as_sent(last, trace_id, "grpc")
                except AssertionError as error:
                    raise AssertionError(f"{error}\n{receiver.said()[-2000:]}") from error
                assert whole(first, trace_id) == whole(last, trace_id), "the traces differ"
                for signal, sent in (("traces", SPANS), ("logs", RECORDS)):
                    assert first.count("forwarded", signal) == sent, f"{signal}: {first.count('forwarded', signal)}"


def the_protocols_own_client_lists_and_calls_the_tools_of_an_agent(ctl_path):
    agent.run(ctl_path)


TESTS = [
    sdk_over_grpc_sends_all_signals_and_they_come_back_as_sent,
    sdk_over_http_with_gzip_sends_all_signals_and_they_come_back_as_sent,
    a_receiver_of_another_make_gets_what_is_forwarded_and_nothing_is_changed,
]
CTL_TESTS = [the_protocols_own_client_lists_and_calls_the_tools_of_an_agent]


def main():
    collector_path, ctl_path = sys.argv[1:3]
    wanted = sys.argv[3] if len(sys.argv) > 3 else ""
    passed, failures = 0, []
    for test in TESTS + CTL_TESTS:
        name = f"interop::{test.__name__}"
        if wanted not in name:
            continue
        try:
            test(ctl_path if test in CTL_TESTS else collector_path)
            print(f"test {name} ... ok", flush=True)
            passed += 1
        except Exception as error:  # whatever it is, the other tests go on
            print(f"test {name} ... FAILED", flush=True)
            failures.append((name, "".join(traceback.format_exception_only(error))[:3000]))
            traceback.print_exc()
    for name, reason in failures:
        print(f"\n---- {name} ----\n{reason}")
    verdict = "FAILED" if failures else "ok"
    print(f"\ntest result: {verdict}. {passed} passed; {len(failures)} failed; 0 ignored")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
