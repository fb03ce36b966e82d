//! Events: records survive JSON bit for bit, and names of kinds are unique.

use std::collections::{BTreeMap, BTreeSet};

use pydarts::event::{EpochRecord, EventKind, Status};

#[test]
fn the_record_of_an_epoch_keeps_every_bit_through_json() {
    let epoch = EpochRecord {
        epoch: 3,
        train_loss: 0.1 + 0.2,
        valid_loss: f64::MIN_POSITIVE,
        train_accuracy: Some(1.0 / 3.0),
        valid_accuracy: Some(0.0),
        learning_rate: 0.025,
        entropy: BTreeMap::from([("normal".to_string(), 8f64.ln())]),
        skip_connections: Some(2),
        seconds: 1e9,
    };
    let text = serde_json::to_string(&epoch).unwrap();
    assert_eq!(serde_json::from_str::<EpochRecord>(&text).unwrap(), epoch);
}

#[test]
fn a_status_is_written_in_lower_case() {
    let written = |status: Status| serde_json::to_string(&status).unwrap();
    assert_eq!(written(Status::Complete), "\"complete\"");
    assert_eq!(written(Status::Interrupted), "\"interrupted\"");
    assert_eq!(written(Status::Failed), "\"failed\"");
}

#[test]
fn kinds_of_events_have_different_names() {
    let names: BTreeSet<&str> = EventKind::ALL.into_iter().map(EventKind::name).collect();
    assert_eq!(names.len(), EventKind::ALL.len());
}
