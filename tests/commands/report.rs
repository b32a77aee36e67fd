//! The report in each of its formats.

use crate::space::Space;
use regex::Regex;
use serde_json::Value;
use snapbox::{assert_data_eq, str};

/// The row of a ranking without the crate that happened to take longest.
fn without_first_crate(text: &str) -> String {
    let row = Regex::new(r"\| `\w+` \| [a-z-]+ \| 1").unwrap();
    row.replace_all(text, "| `[CRATE]` | [KIND] | 1").into_owned()
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
| `[CRATE]` | [KIND] | 1 | [TIME] | [SIZE] | first build |

</details>

<details><summary>Most valuable hits</summary>

| crate | kind | times | compile time | size | reason |
|---|---|---:|---:|---:|---|
| `[CRATE]` | [KIND] | 1 | [TIME] | [SIZE] | |

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
    let events = trace["traceEvents"].as_array().unwrap();
    let count = |category: &str| events.iter().filter(|event| event["cat"] == category).count();
    assert_eq!((count("hit"), count("miss")), (6, 7));
    assert_eq!(events.iter().filter(|event| event["ph"] == "M").count(), 3);
}

#[test]
fn a_root_leaves_only_the_builds_in_it() {
    let space = Space::built();
    let root = space.path("demo/first");
    let report = space.json(&["report", "--format", "json", "--root", root.to_str().unwrap()]);
    assert_eq!(report["timeline"].as_array().unwrap().len(), 1);
    assert_eq!(report["summary"]["misses"], 1);
    assert_eq!(report["meta"]["root_filter"], root.canonicalize().unwrap().to_str().unwrap());
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
