//! The report for scripts; `schemas/report-v1.schema.json` describes it.

use super::build::{Build, outcome_name};
use super::{Ranked, Report};
use crate::cli::{summary, times};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use store_format::{Event, EventOutcome};

pub(super) fn render(report: &Report) -> Result<String> {
    let text = serde_json::to_string_pretty(&value(report)).context("write the report")?;
    Ok(text + "\n")
}

pub(super) fn value(report: &Report) -> Value {
    let summary = &report.summary;
    json!({
        "schema_version": 1,
        "meta": {
            "kache_version": env!("CARGO_PKG_VERSION"),
            "generated_at": times::timestamp(report.generated_ms),
            "since_hours": report.since_hours,
            "root_filter": report.root_filter.as_ref().map(|root| root.to_string_lossy()),
        },
        "summary": summary::json(summary),
        "timeline": report.builds.iter().map(|build| timeline(build, report)).collect::<Vec<_>>(),
        "timing": timing(report),
        "storage": {
            "directory": report.config.cache_dir.to_string_lossy(),
            "size": report.inventory.blob_bytes,
            "allocated": report.inventory.allocated_bytes,
            "max_size": report.config.max_size_bytes,
            "blobs": report.inventory.blobs,
            "results": report.inventory.results,
            "restored_bytes": summary.restored_bytes,
            "linked_bytes": summary.linked_bytes,
            "stored_bytes": summary.stored_bytes,
        },
        "prefetch": {
            "enabled": report.config.prefetch_enabled && report.config.has_remote(),
            "hits": summary.prefetch_hits,
        },
        "top_misses": report.top_misses.iter().map(ranked).collect::<Vec<_>>(),
        "top_hits": report.top_hits.iter().map(ranked).collect::<Vec<_>>(),
        "bypass": report.bypass().iter().map(|(reason, count)| json!({
            "reason": reason,
            "count": count,
        })).collect::<Vec<_>>(),
        "errors_detail": report.errors().map(|event| json!({
            "crate_name": event.crate_name,
            "started_at": times::timestamp(event.started_ms),
            "error": event.reason,
        })).collect::<Vec<_>>(),
        "suggestions": report.suggestions,
        "all_events": report.events.iter().map(event).collect::<Vec<_>>(),
    })
}

fn timeline(build: &Build, report: &Report) -> Value {
    let summary = crate::cli::summary::Summary::of(build.of(&report.events));
    json!({
        "workspace": build.workspace,
        "started_at": times::timestamp(build.started_ms),
        "started_ms": build.started_ms,
        "duration_ms": build.ended_ms - build.started_ms,
        "cargo_pid": build.cargo_pid,
        "total_crates": summary.crates(),
        "hits": summary.hits(),
        "misses": summary.all_misses(),
        "errors": summary.errors,
        "skipped": summary.skipped,
        "compiler_runs": summary.compiler_runs,
        "time_saved_ms": summary.saved_us() / 1000,
    })
}

/// Means in milliseconds, with three decimals.
fn timing(report: &Report) -> Value {
    let summary = &report.summary;
    let misses = summary.all_misses();
    json!({
        "avg_hit_ms": mean_ms(summary.hits_us, summary.hits()),
        "avg_miss_ms": mean_ms(summary.misses_us, misses),
        "avg_key_ms": mean_ms(summary.key_us, summary.crates()),
        "avg_lookup_ms": mean_ms(summary.lookup_us, summary.crates()),
        "avg_restore_ms": mean_ms(summary.restore_us, summary.hits()),
        "avg_store_ms": mean_ms(summary.store_us, misses),
        "avg_compile_ms": mean_ms(summary.misses_compile_us, misses),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a mean for people to read")]
fn mean_ms(sum_us: u64, count: u64) -> f64 {
    sum_us.checked_div(count).unwrap_or(0) as f64 / 1000.0
}

fn ranked(ranked: &Ranked) -> Value {
    json!({
        "crate_name": ranked.crate_name,
        "kind": ranked.kind,
        "count": ranked.count,
        "compile_ms": ranked.compile_us / 1000,
        "size": ranked.size_bytes,
        "reason": ranked.reason,
    })
}

fn event(event: &Event) -> Value {
    let passed = event.outcome == EventOutcome::Passthrough;
    let runs = if summary::is_probe(&event.view()) { 0 } else { event.compiler_runs };
    json!({
        "crate_name": event.crate_name,
        "crate_version": event.crate_version,
        "kind": event.kind,
        "result": outcome_name(event.outcome),
        "compiler_runs": runs,
        "preprocessor_runs": 0,
        "probe_runs": event.compiler_runs - runs,
        "passthrough_reason": passed.then_some(&event.reason),
        "reason": event.reason,
        "key": event.action.map(|action| action.0.to_string()),
        "unit_key": event.unit.map(|unit| unit.0.to_string()),
        "started_ms": event.started_ms,
        "elapsed_ms": f64::from(event.elapsed_us) / 1000.0,
        "key_ms": f64::from(event.key_us) / 1000.0,
        "lookup_ms": f64::from(event.lookup_us) / 1000.0,
        "restore_ms": f64::from(event.restore_us) / 1000.0,
        "compile_ms": f64::from(event.compile_us) / 1000.0,
        "store_ms": f64::from(event.store_us) / 1000.0,
        "size": event.size_bytes,
        "linked_bytes": event.linked_bytes,
        "workspace": event.workspace,
        "target": event.target,
        "profile": event.profile,
        "cargo_pid": event.cargo_pid,
        "pid": event.pid,
        "explanation": event.explanation,
    })
}
