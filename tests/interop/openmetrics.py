"""Parses an OpenMetrics text from standard input with Prometheus's own client library for Python, which is strict about it.

    curl --header 'accept: application/openmetrics-text; version=1.0.0' .../metrics | openmetrics.py

Prints how many families, samples and exemplars it has; fails where it is no OpenMetrics, or says too little.
"""

import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

families = list(text_string_to_metric_families(sys.stdin.read()))
samples = [sample for family in families for sample in family.samples]
names = {family.name for family in families}
missing = {"process_cpu_seconds", "process_resident_memory_bytes", "process_start_time_seconds"} - names
if missing:
    sys.exit(f"no {', '.join(sorted(missing))} in {sorted(names)}")
undocumented = sorted(family.name for family in families if not family.documentation)
if undocumented:
    sys.exit(f"without a help text: {', '.join(undocumented)}")
for sample in samples:
    if sample.exemplar and len(sample.exemplar.labels.get("trace_id", "")) != 32:
        sys.exit(f"an exemplar without a trace: {sample}")
exemplars = sum(1 for sample in samples if sample.exemplar)
print(f"{len(families)} families, {len(samples)} samples, {exemplars} exemplars")
