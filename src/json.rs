//! Reads one named field of a JSON object as a given type. The error for a wrong value names the field, the value
//! and the expected values.

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result, cut};

/// The largest count of any kind: products of two counts fit into 64 bits.
const MOST: usize = 1_000_000_000;

/// One field of an object, and the kind of error to raise for a wrong value.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    pub kind: ErrorKind,
    pub name: &'a str,
    pub value: &'a Value,
}

impl<'a> Field<'a> {
    /// The error for this value: "`epochs` is -3; it must be a whole number of at least 1".
    pub fn refuse(&self, expected: &str) -> Error {
        let given = cut(&self.value.to_string());
        Error::new(self.kind, format!("`{}` is {given}; it must be {expected}", self.name))
    }

    /// A whole number of at least `low`, and at most `MOST`.
    pub fn whole(&self, low: usize) -> Result<usize> {
        let number = self.at_least(low)?;
        if number <= MOST { Ok(number) } else { Err(self.refuse(&format!("a whole number of at most {MOST}"))) }
    }

    /// A whole number of at least `low`.
    pub fn at_least(&self, low: usize) -> Result<usize> {
        self.whole_of(self.value, low).ok_or_else(|| self.refuse(&format!("a whole number of at least {low}")))
    }

    /// A whole number from `low` to `high`.
    pub fn whole_within(&self, low: usize, high: usize) -> Result<usize> {
        self.whole_of(self.value, low)
            .filter(|number| *number <= high)
            .ok_or_else(|| self.refuse(&format!("a whole number from {low} to {high}")))
    }

    /// A number that passes `accept`; `expected` describes such numbers in the error.
    pub fn number(&self, expected: &str, accept: impl Fn(f64) -> bool) -> Result<f64> {
        self.value.as_f64().filter(|number| number.is_finite() && accept(*number)).ok_or_else(|| self.refuse(expected))
    }

    /// A list of numbers that each pass `accept`.
    pub fn numbers(&self, expected: &str, accept: impl Fn(f64) -> bool) -> Result<Vec<f64>> {
        let accepted = |item: &Value| item.as_f64().filter(|number| number.is_finite() && accept(*number));
        self.value
            .as_array()
            .and_then(|items| items.iter().map(accepted).collect())
            .ok_or_else(|| self.refuse(expected))
    }

    /// A list of whole numbers.
    pub fn wholes(&self) -> Result<Vec<usize>> {
        self.value
            .as_array()
            .and_then(|items| items.iter().map(|item| self.whole_of(item, 0)).collect())
            .ok_or_else(|| self.refuse("a list of whole numbers"))
    }

    /// A boolean.
    pub fn flag(&self) -> Result<bool> {
        self.value.as_bool().ok_or_else(|| self.refuse("true or false"))
    }

    /// A string.
    pub fn text(&self, expected: &str) -> Result<&'a str> {
        self.value.as_str().ok_or_else(|| self.refuse(expected))
    }

    /// A list of strings.
    pub fn texts(&self, expected: &str) -> Result<Vec<&'a str>> {
        self.value
            .as_array()
            .and_then(|items| items.iter().map(Value::as_str).collect())
            .ok_or_else(|| self.refuse(expected))
    }

    /// None for null, else the value that `read` returns.
    pub fn optional<T>(&self, read: impl Fn(&Self) -> Result<T>) -> Result<Option<T>> {
        if self.value.is_null() { Ok(None) } else { read(self).map(Some) }
    }

    fn whole_of(&self, value: &Value, low: usize) -> Option<usize> {
        value.as_u64().and_then(|number| usize::try_from(number).ok()).filter(|number| *number >= low)
    }
}
