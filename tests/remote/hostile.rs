//! Objects that are not what they should be: each is refused, and nothing of it gets into the store.

use std::fs;

use kache::remote::{Damage, RemoteError};
use store_format::object::{OBJECT_HEAD_BYTES, part_frame};
use store_format::{
    ActionKey, Digest, FormatError, NodeKind, ObjectHead, ObjectKind, Output, OutputRole,
    ResultRecord,
};

use crate::objects::{ACTION, Pair, digest, record};

const CONTENT: &[u8] = b"the content of a library, which is long enough to be something";

fn output() -> Output {
    Output {
        name: b"libstone.rlib".to_vec(),
        node: NodeKind::File,
        role: OutputRole::Shared,
        mode: 0o644,
        blob: digest(CONTENT),
        size_bytes: CONTENT.len() as u64,
        blob_mtime_ns: 0,
        inline: None,
    }
}

fn result(outputs: Vec<Output>) -> Vec<u8> {
    ResultRecord { outputs, ..record() }.encode()
}

fn frame(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 3).unwrap()
}

/// An object with a seal that fits it.
fn sealed(kind: ObjectKind, key: &ActionKey, payload: &[u8]) -> Vec<u8> {
    let (payload_bytes, seal) = (payload.len(), Digest([0; 32]));
    let mut head = ObjectHead { kind, key: key.0, payload_bytes, seal, signature: None };
    head.seal = digest(&[&head.sealed_part(), payload].concat());
    [&head.encode(), payload].concat()
}

fn object(record: &[u8], blobs: &[&[u8]]) -> Vec<u8> {
    let object = sealed(ObjectKind::Result, &ACTION, &frame(record));
    blobs.iter().fold(object, |object, blob| [object, frame(blob)].concat())
}

/// Puts the object where the result is asked for.
fn serve(pair: &Pair, object: &[u8]) {
    let path = Pair::object_below(&pair.path("shared"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, object).unwrap();
}

/// What is wrong with the object; nothing of it is in the store.
#[track_caller]
fn damage(pair: &Pair, object: &[u8]) -> Damage {
    serve(pair, object);
    let before = pair.blobs();
    let error = pair.pull().expect_err("it is refused");
    assert!(error.is_definite());
    let stored = pair.blobs();
    let unverified = stored.iter().filter(|name| !before.contains(name));
    // A whole blob of a broken object is nobody's, but it is what its name says.
    assert!(unverified.into_iter().all(|name| *name == digest(CONTENT).to_string()), "{stored:?}");
    match error {
        RemoteError::Damaged { damage, .. } => damage,
        error => panic!("{error}"),
    }
}

#[test]
fn a_sound_object_made_by_hand_is_taken() {
    let pair = Pair::new();
    serve(&pair, &object(&result(vec![output()]), &[CONTENT]));
    assert_eq!(pair.pull().unwrap().expect("it is there").outputs.len(), 1);
}

#[test]
fn an_object_cut_off_anywhere_is_refused() {
    let pair = Pair::new();
    let object = object(&result(vec![output()]), &[CONTENT]);
    for end in 0..object.len() {
        damage(&pair, &object[..end]);
    }
    assert_eq!(damage(&pair, &[&object[..], b"0"].concat()), Damage::Length);
}

#[test]
fn an_object_with_a_changed_byte_is_refused() {
    let pair = Pair::new();
    let object = object(&result(vec![output()]), &[CONTENT]);
    let blob = object.len() - frame(CONTENT).len();
    for place in 0..object.len() {
        let mut changed = object.clone();
        changed[place] ^= 1;
        // Some bits of a frame mean nothing: what comes out is the same then.
        if place < blob || zstd::decode_all(&changed[blob..]).ok().as_deref() != Some(CONTENT) {
            damage(&pair, &changed);
        }
    }
}

#[test]
fn an_object_of_another_version_kind_or_action_is_refused() {
    let pair = Pair::new();
    let whole = object(&result(vec![output()]), &[CONTENT]);
    let mut newer = whole.clone();
    newer[8] = 3;
    let version = Damage::Format(FormatError::Version { found: 3 });
    assert_eq!(damage(&pair, &newer), version);
    let payload = frame(&result(Vec::new()));
    let manifests = sealed(ObjectKind::Manifests, &ACTION, &payload);
    assert_eq!(damage(&pair, &manifests), Damage::Misplaced);
    let other = ActionKey(Digest([9; 32]));
    assert_eq!(damage(&pair, &sealed(ObjectKind::Result, &other, &payload)), Damage::Misplaced);
}

#[test]
fn claims_that_blobs_do_not_meet_are_refused() {
    let pair = Pair::new();
    let short = Output { size_bytes: CONTENT.len() as u64 - 1, ..output() };
    assert_eq!(damage(&pair, &object(&result(vec![short]), &[CONTENT])), Damage::Length);
    let huge = Output { size_bytes: u64::MAX, ..output() };
    assert_eq!(damage(&pair, &object(&result(vec![huge]), &[CONTENT])), Damage::Length);
    let mut changed = CONTENT.to_vec();
    changed[0] ^= 1;
    let found = damage(&pair, &object(&result(vec![output()]), &[&changed]));
    assert_eq!(found, Damage::Content(digest(CONTENT)));
    let none = object(&result(vec![output()]), &[]);
    assert_eq!(damage(&pair, &none), Damage::Compression);
    let twin = Output { size_bytes: 5, name: b"twin".to_vec(), ..output() };
    let twins = object(&result(vec![output(), twin]), &[CONTENT]);
    assert_eq!(damage(&pair, &twins), Damage::Length);
}

#[test]
fn a_part_that_is_not_where_it_is_said_to_be_is_refused() {
    let pair = Pair::new();
    let part = Output { name: b"part".to_vec(), blob: digest(&CONTENT[4..9]), ..output() };
    let part = Output { size_bytes: 5, ..part };
    let sound = object(&result(vec![part.clone(), output()]), &[CONTENT]);
    let with = |place: u64| [&sound[..], &part_frame(place)].concat();
    for place in [5, 0, CONTENT.len() as u64 - 5] {
        assert_eq!(damage(&pair, &with(place)), Damage::Content(part.blob));
    }
    for place in [CONTENT.len() as u64 - 4, 1 << 40, u64::MAX] {
        assert_eq!(damage(&pair, &with(place)), Damage::Length);
    }
    assert_eq!(damage(&pair, &with(4)[..sound.len() + 15]), Damage::Length);
    let mut longer = with(4);
    longer[sound.len() + 4] = 9;
    assert_eq!(damage(&pair, &longer), Damage::Compression);
    let alone = [object(&result(vec![output()]), &[]), part_frame(0).to_vec()].concat();
    assert!(matches!(damage(&pair, &alone), Damage::Compression | Damage::Length));
    serve(&pair, &with(4));
    assert_eq!(pair.pull().unwrap().expect("it is there").outputs.len(), 2);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let pair = Pair::new();
    for name in ["../libstone.rlib", "/etc/passwd", "a/../../b", "", "a//b", "a\0b"] {
        let output = Output { name: name.as_bytes().to_vec(), ..output() };
        let found = damage(&pair, &object(&result(vec![output]), &[CONTENT]));
        assert_eq!(found, Damage::Format(FormatError::Name), "{name:?}");
    }
}

#[test]
fn what_grows_beyond_its_bound_is_refused() {
    let pair = Pair::new();
    let zeros = frame(&vec![0; 64 << 20]);
    assert!(zeros.len() < 10_000);
    let bomb = sealed(ObjectKind::Result, &ACTION, &zeros);
    assert_eq!(damage(&pair, &bomb), Damage::Length);
    let object = sealed(ObjectKind::Result, &ACTION, &frame(&result(vec![output()])));
    assert_eq!(damage(&pair, &[object, zeros].concat()), Damage::Length);
    let mut claim = sealed(ObjectKind::Result, &ACTION, b"");
    claim[12..16].fill(0xff);
    assert!(matches!(damage(&pair, &claim), Damage::Format(_)));
    let mut window = zstd::Encoder::new(Vec::new(), 3).unwrap();
    window.window_log(27).unwrap();
    std::io::Write::write_all(&mut window, &[0; 100]).unwrap();
    let window = sealed(ObjectKind::Result, &ACTION, &window.finish().unwrap());
    assert_eq!(damage(&pair, &window), Damage::Compression);
}

#[test]
fn with_a_key_only_what_it_signed_is_taken() {
    let mut pair = Pair::new();
    let plain = object(&result(vec![output()]), &[CONTENT]);
    let sign = |pair: &mut Pair, key: &str| {
        let path = pair.path("signing-key");
        fs::write(&path, key).unwrap();
        pair.config.remote.signing_key_file = Some(path);
    };
    sign(&mut pair, "one key");
    assert_eq!(damage(&pair, &plain), Damage::Unsigned);
    let path = Pair::object_below(&pair.path("shared"));
    fs::remove_file(&path).unwrap();
    pair.push(&[("libstone.rlib", OutputRole::Shared, 0o644, CONTENT)]);
    let signed = fs::read(&path).unwrap();
    let mut edited = signed.clone();
    edited[OBJECT_HEAD_BYTES + 10] ^= 1;
    assert_eq!(damage(&pair, &edited), Damage::Seal);
    let mut unsigned = signed.clone();
    unsigned[10] = 0;
    unsigned[80..112].fill(0);
    assert_eq!(damage(&pair, &unsigned), Damage::Seal);
    sign(&mut pair, "another key");
    assert_eq!(damage(&pair, &signed), Damage::Signature);
    sign(&mut pair, "one key");
    serve(&pair, &signed);
    assert!(pair.pull().unwrap().is_some());
}

#[test]
fn what_was_found_to_be_damaged_is_replaced() {
    let pair = Pair::new();
    serve(&pair, b"garbage");
    pair.replace(&[("libstone.rlib", OutputRole::Shared, 0o644, CONTENT)]);
    assert!(pair.pull().unwrap().is_some());
}
