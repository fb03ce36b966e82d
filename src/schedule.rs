//! Schedules: numbers as pure functions of the epoch, so that resuming is recomputing.

use std::f64::consts::PI;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::error::{Error, Result, unknown};
use crate::json::Field;

/// A number that may change from epoch to epoch. `start` holds in the first epoch and `end` in the last; a search of
/// one epoch uses `start`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Schedule {
    /// The same number in every epoch.
    Constant(f64),
    /// Equal differences between epochs.
    Linear(f64, f64),
    /// Half a period of a cosine.
    Cosine(f64, f64),
    /// Equal ratios between epochs.
    Exponential(f64, f64),
}

/// The names in JSON.
const NAMES: [&str; 3] = ["linear", "cosine", "exponential"];

impl Schedule {
    /// The number in epoch `epoch` of a search of `epochs` epochs.
    pub fn at(&self, epoch: usize, epochs: usize) -> f64 {
        let share = if epochs > 1 { epoch.min(epochs - 1) as f64 / (epochs - 1) as f64 } else { 0.0 };
        let between = |start: f64, end: f64, share: f64| start * (1.0 - share) + end * share;
        match *self {
            Schedule::Constant(number) => number,
            Schedule::Linear(start, end) => between(start, end, share),
            Schedule::Cosine(start, end) => between(start, end, (1.0 - (PI * share).cos()) / 2.0),
            Schedule::Exponential(start, end) if share < 1.0 => start * (end / start).powf(share),
            Schedule::Exponential(_, end) => end,
        }
    }

    /// Whether the number changes with the epoch.
    pub fn is_scheduled(&self) -> bool {
        !matches!(self, Schedule::Constant(_))
    }

    /// The schedule that a field gives: a number, or `{"name": "linear", "start": 10, "end": 0.1}`. `accept` checks
    /// every number; `expected` describes such numbers in the error.
    pub(crate) fn read(field: &Field, expected: &str, accept: impl Fn(f64) -> bool) -> Result<Schedule> {
        let Value::Object(given) = field.value else {
            let expected = format!("{expected}, or a schedule");
            return field.number(&expected, accept).map(Schedule::Constant);
        };
        let name = given.get("name").and_then(Value::as_str).unwrap_or_default();
        if !NAMES.contains(&name) {
            return Err(Error::new(field.kind, unknown("schedule", name, &NAMES)));
        }
        let keys = ["name", "start", "end"];
        if let Some(key) = given.keys().find(|key| !keys.contains(&key.as_str())) {
            return Err(Error::new(field.kind, unknown(&format!("field of the schedule `{name}`"), key, &keys)));
        }
        let number = |key: &str| {
            let qualified = format!("{}.{key}", field.name);
            let value = given.get(key).unwrap_or(&Value::Null);
            Field { kind: field.kind, name: &qualified, value }.number(expected, &accept)
        };
        let (start, end) = (number("start")?, number("end")?);
        if name == "exponential" && !(start > 0.0 && end > 0.0) {
            return Err(field.refuse("an exponential schedule between numbers above 0"));
        }
        Ok(match name {
            "linear" => Schedule::Linear(start, end),
            "cosine" => Schedule::Cosine(start, end),
            _ => Schedule::Exponential(start, end),
        })
    }

    /// The schedule as JSON.
    pub(crate) fn to_value(self) -> Value {
        let named = |name: &str, start: f64, end: f64| json!({"name": name, "start": start, "end": end});
        match self {
            Schedule::Constant(number) => json!(number),
            Schedule::Linear(start, end) => named("linear", start, end),
            Schedule::Cosine(start, end) => named("cosine", start, end),
            Schedule::Exponential(start, end) => named("exponential", start, end),
        }
    }
}

/// JSON that [`Schedule::read`] reads to the same schedule.
impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}
