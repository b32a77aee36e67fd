//! Operations a second, by one process and by several at once.
//!
//! Two figures for each: by the clock, where waiting for a lock counts and so does what else the
//! machine does, and for a second of processor time, where neither does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use store_format::Digest;

use crate::engines::{self, Engine};

/// The first argument of a process that works for another.
pub(crate) const ROLE: &str = "--work";

const RECORDS: u64 = 20_000;
/// Payloads, of which each record takes the next: as large as the real ones, and large ones. The real ones
/// are the middles of the twentieths of 846 manifests, results and snapshots of a web application; their
/// mean is 295 bytes.
const PAYLOADS: [(&str, &[usize]); 2] = [
    (
        "real",
        &[
            54, 80, 105, 127, 156, 172, 185, 191, 197, 206, 219, 241, 252, 261, 273, 296, 337, 410,
            586, 1387,
        ],
    ),
    ("large", &[1000]),
];
const PROCESSES: [u64; 4] = [1, 2, 4, 16];
/// Turns of the engines at each work, of which the median counts.
const TURNS: usize = 5;
/// How long each process works in a turn: time that its start does not count in.
const WORK: Duration = Duration::from_millis(150);
/// Operations between two looks at the clock.
const BATCH: usize = 64;

#[derive(Clone, Copy)]
enum Work {
    Lookup,
    Publish,
    /// Nine lookups, then a publication.
    Mixed,
    /// As a wrapper does it, which lives for one: open, look up, close.
    Opened,
}

const WORKS: [(&str, Work); 4] = [
    ("lookup", Work::Lookup),
    ("publish", Work::Publish),
    ("mixed", Work::Mixed),
    ("open and look up", Work::Opened),
];

fn key(number: u64) -> Digest {
    Digest(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// Something like a result: neither all alike nor all different.
fn payload(number: u64, sizes: &[usize]) -> Vec<u8> {
    let seed = number.to_le_bytes();
    let bytes = sizes[usize::try_from(number).expect("few") % sizes.len()];
    (0..bytes).map(|place| seed[place % 8].wrapping_add(place.to_le_bytes()[0])).collect()
}

/// `only` one of the works, if it is named.
pub(crate) fn compare(space: &Path, only: Option<&str>) {
    println!(
        "operations a second by the clock and by processor time, {RECORDS} records, medians of \
         {TURNS}; ratios kache : other"
    );
    for (size, sizes) in PAYLOADS {
        let space = space.join(size);
        for name in engines::NAMES {
            let engine = engines::open(name, &space);
            for number in 0..RECORDS {
                engine.put(&key(number), &payload(number, sizes));
            }
        }
        for (label, _) in WORKS.iter().filter(|(label, _)| only.is_none_or(|only| only == *label)) {
            for processes in PROCESSES {
                compare_at(&space, label, processes, size);
            }
        }
    }
}

fn compare_at(space: &Path, label: &str, processes: u64, size: &str) {
    let names = engines::NAMES.into_iter();
    let names: Vec<_> = names.filter(|name| processes == 1 || engines::is_shared(name)).collect();
    let mut rates = vec![[const { Vec::new() }; 2]; names.len()];
    for _ in 0..TURNS {
        for (name, rates) in names.iter().zip(&mut rates) {
            for (rates, rate) in rates.iter_mut().zip(rate(space, name, label, processes, size)) {
                rates.push(rate);
            }
        }
    }
    let medians: Vec<[f64; 2]> = rates.into_iter().map(|rates| rates.map(median)).collect();
    let mut line = format!("{size:<5} {label:<16} {processes:>2} processes");
    let [own_wall, own_busy] = medians[0];
    for (name, [wall, busy]) in names.iter().zip(medians) {
        line += &format!("  {name} {wall:>8.0} {busy:>8.0}");
        if *name != names[0] {
            line += &format!(" ({:.1} {:.1})", own_wall / wall, own_busy / busy);
        }
    }
    println!("{line}");
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// By the clock the sum over processes that work at the same time, by processor time their mean.
fn rate(space: &Path, name: &str, label: &str, processes: u64, size: &str) -> [f64; 2] {
    let mut children: Vec<Child> =
        (0..processes).map(|number| start(space, name, label, number, size)).collect();
    let mut outputs: Vec<_> = children
        .iter_mut()
        .map(|child| BufReader::new(child.stdout.take().expect("piped")).lines())
        .collect();
    for output in &mut outputs {
        output.next().expect("a line").expect("it is ready");
    }
    for child in &mut children {
        child.stdin.take().expect("piped").write_all(b"go\n").expect("told to go");
    }
    let mut sums = [0.0; 2];
    for output in &mut outputs {
        let line = output.next().expect("a line").expect("rates");
        for (sum, rate) in sums.iter_mut().zip(line.split(' ')) {
            *sum += rate.parse::<f64>().expect("a number");
        }
    }
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    [sums[0], sums[1] / processes as f64]
}

fn start(space: &Path, name: &str, label: &str, number: u64, size: &str) -> Child {
    let program = std::env::current_exe().expect("this program");
    Command::new(program)
        .args([ROLE, name, label, &number.to_string(), size])
        .arg(space)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started")
}

/// What a process that works for another does.
pub(crate) fn perform(arguments: Vec<String>) {
    let [name, label, number, size, space] = &arguments[..] else { panic!("five arguments") };
    let (_, work) = WORKS.into_iter().find(|(known, _)| known == label).expect("a known work");
    let number: u64 = number.parse().expect("a number");
    let space = PathBuf::from(space);
    let keys: Vec<Digest> = (0..RECORDS).map(key).collect();
    let (_, sizes) = PAYLOADS.into_iter().find(|(known, _)| known == size).expect("a known size");
    let payloads: Vec<Vec<u8>> =
        (0..sizes.len() as u64).map(|place| payload(number + place, sizes)).collect();
    let engine = (!matches!(work, Work::Opened)).then(|| engines::open(name, &space));
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).expect("told to go");
    let (begun, busy) = (Instant::now(), busy_seconds());
    let mut done = 0_u64;
    while begun.elapsed() < WORK {
        // At hand, as a key is that was just computed.
        let batch: [Digest; BATCH] = std::array::from_fn(|place| {
            keys[usize::try_from(scatter(done + place as u64 + (number << 32)) % RECORDS)
                .expect("few")]
        });
        for key in &batch {
            // Each size comes, where all operations publish and where a tenth of them does.
            let payload = &payloads[usize::try_from(done / 10).expect("few") % payloads.len()];
            match (&engine, work) {
                (None, _) => look_up(engines::open(name, &space).as_ref(), key),
                (Some(engine), Work::Publish) => engine.put(key, payload),
                (Some(engine), Work::Mixed) if done % 10 == 9 => engine.put(key, payload),
                (Some(engine), _) => look_up(engine.as_ref(), key),
            }
            done += 1;
        }
    }
    let done = done as f64;
    println!("{} {}", done / begun.elapsed().as_secs_f64(), done / (busy_seconds() - busy));
}

/// Numbers in no order that memory could foresee (the finalizer of SplitMix64).
fn scatter(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// Processor time of this process.
pub(crate) fn busy_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn look_up(engine: &dyn Engine, key: &Digest) {
    assert!(std::hint::black_box(engine.get(key)).is_some());
}
