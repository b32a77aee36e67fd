//! The report as a trace in Chrome's JSON format, which ui.perfetto.dev reads.

use super::Report;
use super::build::{outcome_class, outcome_name};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use store_format::Event;

pub(super) fn render(report: &Report) -> Result<String> {
    let mut trace = Vec::new();
    for (number, build) in report.builds.iter().enumerate() {
        let process = number + 1;
        trace.push(json!({
            "ph": "M", "name": "process_name", "pid": process,
            "args": { "name": format!("{} (cargo {})", build.workspace, build.cargo_pid) },
        }));
        let (lanes, count) = build.lanes(&report.events);
        // Number 0 is the idle thread of a processor to viewers.
        for lane in 1..=count {
            trace.push(json!({
                "ph": "M", "name": "thread_name", "pid": process, "tid": lane,
                "args": { "name": format!("lane {lane}") },
            }));
        }
        for (event, lane) in build.of(&report.events).zip(lanes) {
            trace.extend(slices(event, process, lane + 1));
        }
    }
    let trace = json!({ "traceEvents": trace, "displayTimeUnit": "ms" });
    serde_json::to_string(&trace).map(|text| text + "\n").context("write the trace")
}

/// The call, and below it the parts whose times are known, one after the other.
fn slices(event: &Event, process: usize, lane: usize) -> Vec<Value> {
    let start_us = event.started_ms * 1000;
    let name = if event.crate_name.is_empty() { event.reason.as_str() } else { &event.crate_name };
    let mut slices = vec![json!({
        "ph": "X", "name": name, "cat": outcome_class(event.outcome),
        "pid": process, "tid": lane, "ts": start_us, "dur": event.elapsed_us,
        "args": {
            "result": outcome_name(event.outcome),
            "kind": event.kind,
            "reason": event.reason,
            "size": event.size_bytes,
            "key": event.action.map(|action| action.0.to_string()),
            "explanation": event.explanation,
        },
    })];
    let ran = event.compiler_runs > 0;
    let parts = [
        ("key", event.key_us),
        ("lookup", event.lookup_us),
        ("restore", event.restore_us),
        ("compile", if ran { event.compile_us } else { 0 }),
        ("store", event.store_us),
    ];
    let mut offset_us = 0;
    for (name, duration_us) in parts {
        let duration_us = duration_us.min(event.elapsed_us - offset_us);
        if duration_us == 0 {
            continue;
        }
        slices.push(json!({
            "ph": "X", "name": name, "cat": "part", "pid": process, "tid": lane,
            "ts": start_us + u64::from(offset_us), "dur": duration_us,
        }));
        offset_us += duration_us;
    }
    slices
}
