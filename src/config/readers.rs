//! Readers of options: each takes a field and returns its value, or an error if the value is out of range.

use super::largest;
use crate::error::Result;
use crate::json::Field;
use crate::schedule::Schedule;

/// A whole number of at least `low`.
pub(super) fn whole(low: usize) -> impl Fn(&Field) -> Result<usize> {
    move |field| field.whole(low)
}

/// A whole number from 1 to the largest value of this option.
pub(super) fn size(field: &Field) -> Result<usize> {
    field.whole_within(1, largest(field.name))
}

/// None for null, else the value that `read` returns.
pub(super) fn optional<T>(read: impl Fn(&Field) -> Result<T>) -> impl Fn(&Field) -> Result<Option<T>> {
    move |field| field.optional(&read)
}

pub(super) fn flag(field: &Field) -> Result<bool> {
    field.flag()
}

pub(super) fn positive(field: &Field) -> Result<f64> {
    field.number("a number greater than 0", is_positive)
}

pub(super) fn not_negative(field: &Field) -> Result<f64> {
    field.number("a number of at least 0", |number| number >= 0.0)
}

/// A number of at least 0, or a schedule of such numbers.
pub(super) fn not_negative_schedule(field: &Field) -> Result<Schedule> {
    Schedule::read(field, "a number of at least 0", |number| number >= 0.0)
}

/// A number in [0, 1).
pub(super) fn share(field: &Field) -> Result<f64> {
    field.number("a number from 0 up to, but not including, 1", is_share)
}

/// A number in [0, 1), or a schedule of such numbers.
pub(super) fn scheduled_share(field: &Field) -> Result<Schedule> {
    Schedule::read(field, "a number from 0 up to, but not including, 1", is_share)
}

/// A number in (0, 1).
pub(super) fn open_share(field: &Field) -> Result<f64> {
    field.number("a number between 0 and 1, neither of them", |number| number > 0.0 && number < 1.0)
}

/// Two numbers in [0, 1).
pub(super) fn betas(field: &Field) -> Result<(f64, f64)> {
    let expected = "two numbers from 0 up to, but not including, 1";
    match field.numbers(expected, is_share)?[..] {
        [first, second] => Ok((first, second)),
        _ => Err(field.refuse(expected)),
    }
}

pub(super) fn means(field: &Field) -> Result<Vec<f64>> {
    field.numbers("a list of numbers, one per channel", |_| true)
}

pub(super) fn deviations(field: &Field) -> Result<Vec<f64>> {
    field.numbers("a list of numbers greater than 0, one per channel", is_positive)
}

pub(super) fn seed(field: &Field) -> Result<u64> {
    let expected = "a whole number of at least 0, below 2 to the power of 64";
    field.value.as_u64().ok_or_else(|| field.refuse(expected))
}

/// A side, or height and width.
pub(super) fn image_size(field: &Field) -> Result<(usize, usize)> {
    let most = largest(field.name);
    let expected = format!("a whole number, or two of them, height and width, from 1 to {most}");
    let sides = match field.value.is_array() {
        true => field.wholes(),
        false => field.whole(1).map(|side| vec![side, side]),
    };
    match sides.map_err(|_| field.refuse(&expected))?[..] {
        [height, width] if [height, width].iter().all(|side| (1..=most).contains(side)) => Ok((height, width)),
        _ => Err(field.refuse(&expected)),
    }
}

pub(super) fn device(field: &Field) -> Result<String> {
    let expected = "\"auto\", \"cpu\", \"cuda\" or \"cuda:\" and a number";
    let name = field.text(expected)?;
    let numbered = name.strip_prefix("cuda:").is_some_and(|number| number.parse::<u8>().is_ok());
    if numbered || ["auto", "cpu", "cuda"].contains(&name) { Ok(name.to_string()) } else { Err(field.refuse(expected)) }
}

pub(super) fn label(field: &Field) -> Result<String> {
    field.text("a name").map(str::to_string)
}

pub(super) fn path(field: &Field) -> Result<String> {
    let expected = "the path of a folder";
    let path = field.text(expected)?;
    if path.is_empty() { Err(field.refuse(expected)) } else { Ok(path.to_string()) }
}

fn is_positive(number: f64) -> bool {
    number > 0.0
}

fn is_share(number: f64) -> bool {
    (0.0..1.0).contains(&number)
}
