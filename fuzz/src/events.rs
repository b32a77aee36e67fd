//! The event log: any bytes, and any payload in a sound frame.

use store_format::wire::{Reader, Writer};
use store_format::{EVENT_MAGIC, EVENT_PAYLOAD_BYTES_MAX, Event, Events, checksum};

pub fn run(bytes: &[u8]) {
    log(bytes);
    if bytes.len() <= EVENT_PAYLOAD_BYTES_MAX {
        let frame = sealed(bytes);
        if let Ok(event) = Event::decode_frame(&mut Reader::new(&frame)) {
            assert_eq!(event.encode_frame(), frame);
            between_noise(&frame, bytes);
        }
    }
}

/// Every byte up to the position belongs to an event or was skipped.
fn log(bytes: &[u8]) {
    let mut events = Events::new(bytes);
    let read: usize = events.by_ref().map(|event| event.encode_frame().len()).sum();
    assert_eq!(read + events.skipped_bytes(), events.position());
    assert!(events.position() <= bytes.len());
}

/// An event is found behind what is none, and in front of what is none.
fn between_noise(frame: &[u8], payload: &[u8]) {
    let noise = &payload[..payload.len() / 2];
    if noise.windows(EVENT_MAGIC.len()).any(|window| window == EVENT_MAGIC) {
        return;
    }
    let log = [noise, frame, noise].concat();
    assert_eq!(Events::new(&log).count(), 1);
}

fn sealed(payload: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.raw(&EVENT_MAGIC);
    writer.u32(u32::try_from(payload.len()).expect("within the limit"));
    writer.u64(checksum(payload));
    writer.raw(payload);
    writer.finish()
}
