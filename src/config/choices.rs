//! Options that are one of several names. The names are those that serde writes.

use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result, unknown};
use crate::fields::Field;
use crate::space::CellKind;

/// One of several names.
pub(super) trait Choice: Copy + Serialize + 'static {
    /// All of them, in the order in which they are told to the user.
    const ALL: &'static [Self];
}

/// The choice that a field names.
pub(super) fn choice<T: Choice>(field: &Field) -> Result<T> {
    named(field, field.text(&format!("one of {}", names::<T>().join(", ")))?)
}

/// The choice of a name that was given in a field.
pub(super) fn named<T: Choice>(field: &Field, given: &str) -> Result<T> {
    let names = names::<T>();
    match names.iter().position(|name| name == given) {
        Some(place) => Ok(T::ALL[place]),
        None => {
            let known: Vec<&str> = names.iter().map(String::as_str).collect();
            Err(Error::new(field.kind, unknown(&format!("`{}`", field.name), given, &known)))
        }
    }
}

fn names<T: Choice>() -> Vec<String> {
    let name = |choice: &T| match json!(choice) {
        Value::String(name) => name,
        other => other.to_string(),
    };
    T::ALL.iter().map(name).collect()
}

/// How α's gradient accounts for the weights' dependence on α.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Not at all: ξ = 0.
    FirstOrder,
    /// One virtual step, the second term by finite differences (equations 7 and 8).
    Unrolled,
    /// One virtual step, the second term exactly: the derivative of a gradient along one direction.
    UnrolledExact,
}

/// What is done to a training image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Augment {
    /// Nothing.
    None,
    /// A random crop from 4 pixels of padding, and a random horizontal flip.
    Cifar,
}

/// The arithmetic of the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// tf32 where the device has it, else float32.
    Auto,
    /// Double precision.
    Float64,
    /// Single precision.
    Float32,
    /// Single precision, products rounded to 10 bits.
    Tf32,
    /// Half-width numbers with the range of single precision.
    Bfloat16,
}

/// A rewrite of the plan that the search runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rewrite {
    /// Dilated convolutions as undilated ones on the phases of the image.
    SpaceToBatch,
    /// What several edges compute alike is computed once.
    Share,
    /// Mixing weights ride in the scales of batch norms.
    Fold,
    /// What the edges that leave a node do alike is one instruction.
    Group,
    /// What leaves a node in groups is added before it parts.
    Sum,
    /// What several edges share is mixed for all of them in one product.
    Mixtures,
    /// What a product does to the input of a recurrent cell is done for all tokens at once.
    Hoist,
    /// The products of all states that enter a node are one.
    Stack,
    /// The gates of a node are mixed in one expression.
    Gates,
}

impl Rewrite {
    /// Every rewrite.
    pub const ALL: &'static [Rewrite] = &[
        Rewrite::SpaceToBatch,
        Rewrite::Share,
        Rewrite::Fold,
        Rewrite::Group,
        Rewrite::Sum,
        Rewrite::Mixtures,
        Rewrite::Hoist,
        Rewrite::Stack,
        Rewrite::Gates,
    ];

    /// Those that rewrite networks of a kind of cells, in the order in which they are applied.
    pub fn of(kind: CellKind) -> &'static [Rewrite] {
        match kind {
            CellKind::Convolutional => {
                &[Rewrite::SpaceToBatch, Rewrite::Share, Rewrite::Fold, Rewrite::Group, Rewrite::Sum, Rewrite::Mixtures]
            }
            CellKind::Recurrent => &[Rewrite::Share, Rewrite::Hoist, Rewrite::Stack, Rewrite::Gates],
        }
    }
}

/// Whether forms are measured at the start of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tune {
    /// Never: a fixed rule decides.
    Off,
    /// What earlier starts measured is used; the rule decides the rest.
    Cached,
    /// What is not known yet is measured.
    Full,
}

/// What a backward pass keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// Everything it needs.
    Keep,
    /// What enters each cell; the rest is computed again.
    Recompute,
}

/// Whether a search step is captured as a graph and replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Graph {
    /// Where the device has graphs.
    Auto,
    /// Never.
    Off,
}

impl Choice for Method {
    const ALL: &'static [Self] = &[Method::FirstOrder, Method::Unrolled, Method::UnrolledExact];
}

impl Choice for Augment {
    const ALL: &'static [Self] = &[Augment::None, Augment::Cifar];
}

impl Choice for Precision {
    const ALL: &'static [Self] =
        &[Precision::Auto, Precision::Float64, Precision::Float32, Precision::Tf32, Precision::Bfloat16];
}

impl Choice for Rewrite {
    const ALL: &'static [Self] = Rewrite::ALL;
}

impl Choice for Tune {
    const ALL: &'static [Self] = &[Tune::Off, Tune::Cached, Tune::Full];
}

impl Choice for Memory {
    const ALL: &'static [Self] = &[Memory::Keep, Memory::Recompute];
}

impl Choice for Graph {
    const ALL: &'static [Self] = &[Graph::Auto, Graph::Off];
}

impl Method {
    /// The method that an argument names; an unknown one is refused with the nearest known.
    pub fn parse(argument: &'static str, name: &str) -> Result<Method> {
        let value = json!(name);
        choice(&Field { kind: ErrorKind::Config, name: argument, value: &value })
    }
}
