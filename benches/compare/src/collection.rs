//! Garbage collection of a large store.

use std::path::Path;
use std::time::Instant;

use crate::index::{Index, Kind};
use crate::rates::busy_seconds;
use crate::store::evict::{Holdings, Limits, evict};
use crate::store::upkeep::compact;
use store_format::{
    ActionKey, Digest, Inline, NodeKind, Output, OutputRole, ResultRecord, UnitKey,
};

const RESULTS: u64 = 100_000;

fn digest(number: u64) -> Digest {
    Digest(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

pub(crate) fn measure(space: &Path) {
    let store = space.join("store");
    fill(&store);
    println!("\ngarbage collection of {RESULTS} results, {RESULTS} blobs");
    let now_s = 2_000_000_000;
    // Each holds a block of 4096 bytes. A collection ends at nine tenths of its cap.
    for (what, size_bytes_max) in [
        ("nothing to do", u64::MAX / 2),
        ("just above the cap", RESULTS * 4096 - 1),
        ("half of it", RESULTS * 2048),
    ] {
        let mut parts = Parts(Vec::new());
        parts.end("");
        let index = Index::open(&store).expect("an index");
        let holdings = Holdings::read(&store, &index).expect("read");
        parts.end("read");
        let plan = holdings.plan(Limits { size_bytes_max, age_s_max: 0, now_s });
        parts.end("plan");
        let (units, _) = evict(&holdings, &index, &plan, now_s);
        parts.end("evict");
        compact(&holdings, &index, |unit| units.contains(unit)).expect("compacted");
        parts.end("compact");
        println!("{what}, {} results go: {parts}", plan.results.len());
    }
}

/// When the parts ended, by the clock and by processor time.
struct Parts(Vec<(&'static str, Instant, f64)>);

impl Parts {
    fn end(&mut self, name: &'static str) {
        self.0.push((name, Instant::now(), busy_seconds()));
    }
}

impl std::fmt::Display for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let passed = |from: usize, to: usize| {
            let ((_, begun, busy), (_, ended, busy_then)) = (self.0[from], self.0[to]);
            ((ended - begun).as_secs_f64(), busy_then - busy)
        };
        let (wall, busy) = passed(0, self.0.len() - 1);
        write!(f, "{wall:.2} s, {busy:.2} s of processor time:")?;
        for (place, (name, ..)) in self.0.iter().enumerate().skip(1) {
            let (wall, busy) = passed(place - 1, place);
            write!(f, " {name} {wall:.2} ({busy:.2})")?;
        }
        Ok(())
    }
}

fn fill(store: &Path) {
    let index = Index::open(store).expect("an index");
    for number in 0..256 {
        std::fs::create_dir_all(store.join(format!("blobs/{number:02x}"))).expect("a directory");
    }
    for number in 0..RESULTS {
        let blob = digest(number + RESULTS);
        let output = |name: &str, inline| Output {
            name: name.into(),
            node: NodeKind::File,
            role: OutputRole::Private,
            mode: 0o644,
            blob,
            size_bytes: 4096,
            blob_mtime_ns: 0,
            inline,
        };
        let text =
            output("crate-0123456789abcdef.d", Some(Inline::DepInfo(digest(number).0.to_vec())));
        let result = ResultRecord {
            action: ActionKey(digest(number)),
            unit: UnitKey(digest(number)),
            crate_name: format!("crate_{}", number % 700).into_bytes(),
            outputs: vec![output("libcrate-0123456789abcdef.rmeta", None), text],
            stdout: Vec::new(),
            stderr: Vec::new(),
            exit_status: 0,
            cost_us: number * 1000,
            boot: [0; 16],
            fetched: false,
            created_s: 1_900_000_000,
        };
        index.put(Kind::Result, &result.action.0, &result.encode()).expect("put");
        index.put(Kind::Manifests, &result.unit.0, &[b'm'; 300]).expect("put");
        index.put(Kind::Latest, &result.unit.0, &[b's'; 300]).expect("put");
        let name = blob.to_string();
        let path = store.join("blobs").join(&name[..2]).join(&name);
        std::fs::write(path, [7; 1024]).expect("a blob");
    }
}
