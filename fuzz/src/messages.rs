//! What a peer at the socket may send. What decodes survives another round.

use store_format::message::{Answer, MESSAGE_HEAD_BYTES, Request, payload_bytes};

pub fn run(mut bytes: &[u8]) {
    while let Some((head, rest)) = bytes.split_first_chunk::<MESSAGE_HEAD_BYTES>()
        && let Ok(length) = payload_bytes(head)
        && let Some((payload, after)) = rest.split_at_checked(length)
    {
        one(payload);
        bytes = after;
    }
    one(bytes);
}

fn one(payload: &[u8]) {
    if let Ok(value) = Request::decode(payload) {
        assert_eq!(value.encode()[MESSAGE_HEAD_BYTES..], *payload);
    }
    if let Ok(value) = Answer::decode(payload) {
        assert_eq!(Answer::decode(&value.encode()[MESSAGE_HEAD_BYTES..]), Ok(value));
    }
}
