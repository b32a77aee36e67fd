//! The report in each of its formats.

use crate::space::Space;
use regex::Regex;
use serde_json::Value;
use snapbox::{assert_data_eq, str};
use std::collections::{BTreeMap, BTreeSet};
use store_format::{Event, EventOutcome};

/// The row of a ranking without the crate that happened to take longest.
fn without_first_crate(text: &str) -> String {
    let row =
        Regex::new(r"\| `\w+` \| [a-z-]+ \| \d \|(.*) (first build|inputs differ) \|").unwrap();
    let text = row.replace_all(text, "| `[CRATE]` | [KIND] | [COUNT] |$1 [REASON] |");
    let row = Regex::new(r"\| `\w+` \| [a-z-]+ \| \d").unwrap();
    row.replace_all(&text, "| `[CRATE]` | [KIND] | [COUNT]").into_owned()
}

/// Indented rows in alphabetical order: how they rank depends on how long the compiler took.
fn with_rows_sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    for rows in lines.chunk_by_mut(|a, b| a.starts_with(' ') == b.starts_with(' ')) {
        if rows[0].starts_with(' ') {
            rows.sort_unstable();
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_report_is_text_and_markdown_for_people() {
    assert_data_eq!(
        with_rows_sorted(&Space::built().run(&["report"])),
        str![[r#"
6 of 13 compilations hit ([SHARE]), [TIME] saved

Builds
 [DATE] [TIME] 0 1 [TIME] [ROOT]/demo/first
 [DATE] [TIME] 0 6 [TIME] [ROOT]/temporary/[DEMO]/first
 [DATE] [TIME] 6 0 [TIME] [ROOT]/temporary/[DEMO]/second
 started time hits misses saved workspace

Most expensive misses
 climate build-script 1× [TIME] [SIZE] first build
 climate build-script-run 1× [TIME] [SIZE] first build
 climate lib 1× [TIME] [SIZE] first build
 greenhouse bin 2× [TIME] [SIZE] inputs differ
 plants lib 1× [TIME] [SIZE] first build
 plants_derive proc-macro 1× [TIME] [SIZE] first build

Most valuable hits
 climate build-script 1× [TIME] [SIZE]
 climate build-script-run 1× [TIME] [SIZE]
 climate lib 1× [TIME] [SIZE]
 greenhouse bin 1× [TIME] [SIZE]
 plants lib 1× [TIME] [SIZE]
 plants_derive proc-macro 1× [TIME] [SIZE]
exit status 0

"#]]
    );
    assert_data_eq!(
        without_first_crate(&Space::built().run(&["report", "--format", "markdown", "--top", "1"])),
        str![[r#"
## kache: [SHARE] hits

| hits | misses | not cached | time saved | restored | store |
|---:|---:|---:|---:|---:|---:|
| 6 of 13 | 7 | 0 | [TIME] | [SIZE] | [SIZE] of 50.0 GB |

<details><summary>Builds</summary>

| started | time | hits | misses | saved | workspace |
|---|---:|---:|---:|---:|---|
| [DATE] | [TIME] | 0 | 1 | [TIME] | `[ROOT]/demo/first` |

</details>

<details><summary>Most expensive misses</summary>

| crate | kind | times | compile time | size | reason |
|---|---|---:|---:|---:|---|
| `[CRATE]` | [KIND] | [COUNT] | [TIME] | [SIZE] | [REASON] |

</details>

<details><summary>Most valuable hits</summary>

| crate | kind | times | compile time | size | reason |
|---|---|---:|---:|---:|---|
| `[CRATE]` | [KIND] | [COUNT] | [TIME] | [SIZE] | |

</details>
exit status 0

"#]]
    );
}

#[test]
fn the_report_for_scripts_is_what_the_schema_says() {
    let schema: Value =
        serde_json::from_str(include_str!("../../schemas/report-v1.schema.json")).unwrap();
    let report = Space::built().json(&["report", "--format", "json"]);
    let mut findings = Vec::new();
    validate("", &report, &schema, &mut findings);
    assert_eq!(findings, Vec::<String>::new());
    let builds = report["timeline"].as_array().unwrap();
    let hits: Vec<_> = builds.iter().map(|build| build["hits"].as_u64().unwrap()).collect();
    assert_eq!(hits, [0, 6, 0], "Cargo had nothing to do in the other two");
    let mut broken = report.clone();
    broken["summary"]["misses"] = Value::from("seven");
    broken["all_events"][0]["undocumented"] = Value::from(1);
    broken["meta"].as_object_mut().unwrap().remove("kache_version");
    validate("", &broken, &schema, &mut findings);
    assert_eq!(findings.len(), 3, "{findings:?}");
}

/// The part of JSON Schema that the report's schema uses; what it does not name is a finding too.
fn validate(place: &str, value: &Value, schema: &Value, findings: &mut Vec<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed = |name: &str| name == kind || name == "number" && kind == "integer";
    let type_fits = match &schema["type"] {
        Value::String(name) => allowed(name),
        Value::Array(names) => names.iter().any(|name| allowed(name.as_str().unwrap())),
        _ => true,
    };
    let constant = schema.get("const").is_none_or(|constant| constant == value);
    let listed = schema.get("enum").is_none_or(|list| list.as_array().unwrap().contains(value));
    if !type_fits || !constant || !listed {
        findings.push(format!("{place}: {value} does not fit {schema}"));
    }
    if let (Value::Object(members), Some(properties)) = (value, schema.get("properties")) {
        for name in schema["required"].as_array().unwrap().iter().filter_map(Value::as_str) {
            if !members.contains_key(name) {
                findings.push(format!("{place}/{name} is missing"));
            }
        }
        for (name, member) in members {
            match properties.get(name) {
                Some(property) => validate(&format!("{place}/{name}"), member, property, findings),
                None => findings.push(format!("{place}/{name} is not in the schema")),
            }
        }
    }
    if let (Value::Array(items), Some(schema)) = (value, schema.get("items")) {
        for (index, item) in items.iter().enumerate() {
            validate(&format!("{place}/{index}"), item, schema, findings);
        }
    }
}

#[test]
fn the_page_stands_alone_and_has_a_bar_for_each_call() {
    let space = Space::built();
    let page = space.path("report.html");
    let arguments = ["report", "--format", "html", "-o", page.to_str().unwrap()];
    assert!(space.kache(&arguments).status().unwrap().success());
    let text = std::fs::read_to_string(page).unwrap();
    assert!(text.starts_with("<!doctype html>") && text.ends_with("</html>\n"));
    let bars = |class: &str| text.matches(&format!("<rect class=\"{class}")).count();
    assert_eq!((bars("hit"), bars("miss")), (6, 7));
    let rows = text.split("<tbody>").nth(1).unwrap().matches("<tr>").count();
    assert_eq!(rows, text.matches("<rect ").count(), "each call of the timelines is in the table");
    for elsewhere in ["http:", "https:", "src=", "href=", "@import", "url("] {
        assert!(!text.contains(elsewhere), "the page refers to something else: {elsewhere}");
    }
}

#[test]
fn the_trace_has_a_slice_for_each_call_in_the_process_of_its_build() {
    let trace = Space::built().json(&["report", "--format", "perfetto"]);
    assert_eq!(trace_findings(&trace), Vec::<String>::new());
    let events = trace["traceEvents"].as_array().unwrap();
    let count = |member: &str, value: &str| events.iter().filter(|e| e[member] == value).count();
    assert_eq!((count("cat", "hit"), count("cat", "miss")), (6, 7));
    assert_eq!(count("name", "process_name"), 3);
}

#[test]
fn slices_of_a_trace_nest_whatever_the_times_are() {
    let space = Space::new();
    let mut state = 1_u64;
    // Knuth's generator: the upper half is random enough.
    let mut below = |bound: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((state >> 33) % bound).unwrap()
    };
    let log: Vec<u8> = (0..2000)
        .flat_map(|_| {
            let event = Event {
                started_ms: 1_700_000_000_000 + u64::from(below(500)),
                elapsed_us: below(3) * below(20_000),
                key_us: below(2) * below(3_000),
                lookup_us: below(2) * below(3_000),
                restore_us: below(3_000),
                compile_us: below(2) * below(30_000),
                store_us: below(3_000),
                compiler_runs: below(2),
                outcome: EventOutcome::ALL[below(8) as usize],
                reason: "a reason".to_owned(),
                crate_name: ["", "one", "\"two\u{1b}"][below(3) as usize].to_owned(),
                cargo_pid: below(3),
                ..Event::default()
            };
            event.encode_frame()
        })
        .collect();
    std::fs::create_dir(space.path("store")).unwrap();
    std::fs::write(space.path("store/events"), log).unwrap();
    let mut trace = space.json(&["report", "--format", "perfetto"]);
    assert_eq!(trace_findings(&trace), Vec::<String>::new());

    let events = trace["traceEvents"].as_array_mut().unwrap();
    assert!(events.len() > 3000);
    let longest = events.iter().max_by_key(|event| event["dur"].as_u64()).unwrap();
    let mut later = longest.clone();
    later["ts"] = Value::from(longest["ts"].as_u64().unwrap() + 1);
    events[0]["colour"] = Value::from(1);
    let last = events.len() - 1;
    events[last]["tid"] = Value::from("main");
    events.push(later);
    assert_eq!(trace_findings(&trace).len(), 3);
}

/// What Chrome's trace event format does not allow, or does not know: metadata and complete events,
/// of which those of a thread have to nest.
fn trace_findings(trace: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    let members: Vec<_> = trace.as_object().unwrap().keys().collect();
    assert_eq!(members, ["traceEvents", "displayTimeUnit"]);
    assert_eq!(trace["displayTimeUnit"], "ms");
    let mut threads: BTreeMap<(u64, u64), Vec<(u64, u64)>> = BTreeMap::new();
    let mut named = BTreeSet::new();
    for event in trace["traceEvents"].as_array().unwrap() {
        let members: BTreeSet<&str> =
            event.as_object().unwrap().keys().map(String::as_str).collect();
        let number = |name: &str| event[name].as_u64();
        let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        let thread = number("pid").zip(number("tid"));
        let fits = match (event["ph"].as_str(), event["name"].as_str()) {
            (Some("M"), Some("process_name")) => {
                named.insert((number("pid"), None));
                members == BTreeSet::from(["ph", "name", "pid", "args"])
                    && is_text(&event["args"]["name"])
            }
            (Some("M"), Some("thread_name")) => {
                named.insert((number("pid"), number("tid")));
                members == BTreeSet::from(["ph", "name", "pid", "tid", "args"])
                    && is_text(&event["args"]["name"])
            }
            (Some("X"), Some(name)) => {
                if let (Some(thread), Some(span)) = (thread, number("ts").zip(number("dur"))) {
                    threads.entry(thread).or_default().push(span);
                }
                let known = ["ph", "name", "cat", "pid", "tid", "ts", "dur", "args"];
                !name.is_empty()
                    && is_text(&event["cat"])
                    && thread.is_some_and(|(process, thread)| process > 0 && thread > 0)
                    && number("ts").zip(number("dur")).is_some()
                    && members.is_subset(&BTreeSet::from(known))
                    && event.get("args").is_none_or(Value::is_object)
            }
            _ => false,
        };
        if !fits {
            findings.push(format!("no event of a trace: {event}"));
        }
    }
    for (thread, mut spans) in threads {
        if !named.contains(&(Some(thread.0), None))
            || !named.contains(&(Some(thread.0), Some(thread.1)))
        {
            findings.push(format!("{thread:?} has no name"));
        }
        spans.sort_by_key(|(start, length)| (*start, std::cmp::Reverse(*length)));
        let mut open: Vec<u64> = Vec::new();
        for (start, length) in spans {
            open.retain(|end| *end > start);
            if open.last().is_some_and(|end| *end < start + length) {
                findings
                    .push(format!("{thread:?}: a slice at {start} ends after the one around it"));
            }
            open.push(start + length);
        }
    }
    findings
}

#[test]
fn a_root_leaves_only_the_builds_in_it() {
    let space = Space::built();
    let root = space.path("demo/first");
    let report = space.json(&["report", "--format", "json", "--root", root.to_str().unwrap()]);
    assert_eq!(report["timeline"].as_array().unwrap().len(), 1);
    assert_eq!(report["summary"]["misses"], 1);
    assert_eq!(report["meta"]["root_filter"], root.canonicalize().unwrap().to_str().unwrap());
    // Cargo compiles a member in the directory of its workspace.
    let mut member = space.kache(&["report", "--format", "json", "--root", "."]);
    let member = member.current_dir(root.join("greenhouse/src")).output().unwrap();
    let member: Value = serde_json::from_slice(&member.stdout).unwrap();
    assert_eq!(member["timeline"], report["timeline"]);
    let nowhere = space.kache(&["report", "--root", "/nowhere"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
}

#[test]
fn the_summary_of_a_github_job_is_appended_to() {
    let space = Space::built();
    let file = space.path("summary.md");
    std::fs::write(&file, "# before\n").unwrap();
    let mut report = space.kache(&["report", "--format", "github"]);
    let output = report.env("GITHUB_STEP_SUMMARY", &file).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.starts_with("# before\n## kache: "), "{text}");
}

#[test]
fn a_dash_stands_for_standard_output() {
    let space = Space::built();
    let mut report = space.kache(&["report", "--format", "github", "-o", "-"]);
    let output = report.env("GITHUB_STEP_SUMMARY", space.path("no-summary.md")).output().unwrap();
    assert!(output.stdout.starts_with(b"## kache: ") && output.stderr.is_empty(), "{output:?}");
    assert!(!space.path("-").exists() && !space.path("no-summary.md").exists());
}

#[test]
fn a_report_has_no_table_without_rows_and_counts_what_it_leaves_out() {
    let space = Space::new();
    assert_eq!(space.run(&["report"]), "No build has used the cache.\nexit status 0\n");
    let event = |cargo_pid, outcome, crate_name: &str| Event {
        started_ms: 1_700_000_000_000,
        reason: "not-a-compile|version".to_owned(),
        crate_name: crate_name.to_owned(),
        cargo_pid,
        outcome,
        ..Event::default()
    };
    let asked = event(1, EventOutcome::Passthrough, "").encode_frame();
    std::fs::create_dir(space.path("store")).unwrap();
    std::fs::write(space.path("store/events"), &asked).unwrap();
    let text = space.run(&["report"]);
    assert!(!text.contains("Builds") && !text.contains("started"), "{text}");
    let builds = [2, 3, 4].map(|pid| event(pid, EventOutcome::LocalHit, "one").encode_frame());
    std::fs::write(space.path("store/events"), builds.concat()).unwrap();
    let text = space.run(&["report", "--top", "1"]);
    assert!(text.contains("\n and 2 more builds\n"), "{text}");
    let text = space.run(&["report", "--top", "2"]);
    assert!(text.contains("\n and 1 more build\n"), "{text}");
}
