//! The candidate operations of an edge and their names.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::CellKind;
use crate::error::{Error, Result, cut, unknown};
use crate::json::Field;

/// A candidate operation of an edge. `None` is the zero operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, non_camel_case_types)] // the names need no explanation; Conv7x1_1x7 is the field's own spelling
pub enum Operation {
    None,
    SkipConnect,
    MaxPool3x3,
    AvgPool3x3,
    SepConv3x3,
    SepConv5x5,
    SepConv7x7,
    DilConv3x3,
    DilConv5x5,
    Conv1x1,
    Conv3x3,
    Conv7x1_1x7,
    NorConv1x1,
    NorConv3x3,
    MaxPool3,
    MaxPool5,
    MaxPool7,
    AvgPool3,
    AvgPool5,
    AvgPool7,
    SepConv3,
    SepConv5,
    SepConv7,
    SepConv15,
    SepConv31,
    DilConv3,
    DilConv5,
    DilConv7,
    Conv1,
    Conv3,
    Conv5,
    Conv7,
    Noise,
    Tanh,
    Relu,
    Sigmoid,
    Identity,
    /// A user-defined operation, see [`Operation::own`].
    Own(&'static str),
}

/// The names of user-defined operations. They are few and are never freed.
static OWN: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

/// The longest name of such an operation.
const LONGEST_NAME: usize = 64;

/// Every built-in operation with its name in files, tables and messages.
const NAMES: &[(Operation, &str)] = &[
    (Operation::None, "none"),
    (Operation::SkipConnect, "skip_connect"),
    (Operation::MaxPool3x3, "max_pool_3x3"),
    (Operation::AvgPool3x3, "avg_pool_3x3"),
    (Operation::SepConv3x3, "sep_conv_3x3"),
    (Operation::SepConv5x5, "sep_conv_5x5"),
    (Operation::SepConv7x7, "sep_conv_7x7"),
    (Operation::DilConv3x3, "dil_conv_3x3"),
    (Operation::DilConv5x5, "dil_conv_5x5"),
    (Operation::Conv1x1, "conv_1x1"),
    (Operation::Conv3x3, "conv_3x3"),
    (Operation::Conv7x1_1x7, "conv_7x1_1x7"),
    (Operation::NorConv1x1, "nor_conv_1x1"),
    (Operation::NorConv3x3, "nor_conv_3x3"),
    (Operation::MaxPool3, "max_pool_3"),
    (Operation::MaxPool5, "max_pool_5"),
    (Operation::MaxPool7, "max_pool_7"),
    (Operation::AvgPool3, "avg_pool_3"),
    (Operation::AvgPool5, "avg_pool_5"),
    (Operation::AvgPool7, "avg_pool_7"),
    (Operation::SepConv3, "sep_conv_3"),
    (Operation::SepConv5, "sep_conv_5"),
    (Operation::SepConv7, "sep_conv_7"),
    (Operation::SepConv15, "sep_conv_15"),
    (Operation::SepConv31, "sep_conv_31"),
    (Operation::DilConv3, "dil_conv_3"),
    (Operation::DilConv5, "dil_conv_5"),
    (Operation::DilConv7, "dil_conv_7"),
    (Operation::Conv1, "conv_1"),
    (Operation::Conv3, "conv_3"),
    (Operation::Conv5, "conv_5"),
    (Operation::Conv7, "conv_7"),
    (Operation::Noise, "noise"),
    (Operation::Tanh, "tanh"),
    (Operation::Relu, "relu"),
    (Operation::Sigmoid, "sigmoid"),
    (Operation::Identity, "identity"),
];

impl Operation {
    /// Every built-in operation.
    pub const ALL: &[Operation] = &{
        let mut all = [Operation::None; NAMES.len()];
        let mut index = 0;
        while index < NAMES.len() {
            all[index] = NAMES[index].0;
            index += 1;
        }
        all
    };

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Own(name) => name,
            built_in => NAMES.iter().find(|(operation, _)| *operation == built_in).map_or("", |(_, name)| name),
        }
    }

    /// A user-defined operation. From now on `parse` knows its name, which is a word of letters, digits and
    /// underscores, as it is a part of the names of weights.
    pub fn own(name: &str) -> Result<Operation> {
        let refuse = |detail: &str| Err(Error::space(format!("the operation `{}` {detail}", cut(name))));
        if NAMES.iter().any(|(_, known)| *known == name) {
            return refuse("is a built-in one; choose another name");
        }
        let word = name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
        if !word
            || name.is_empty()
            || name.starts_with(|first: char| !first.is_ascii_alphabetic())
            || name.len() > LONGEST_NAME
        {
            let expected = format!("is not a name; use at most {LONGEST_NAME} letters, digits and underscores");
            return refuse(&expected);
        }
        let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
        let known = own.iter().find(|known| **known == name).copied();
        Ok(Operation::Own(known.unwrap_or_else(|| {
            let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
            own.push(name);
            name
        })))
    }

    /// Whether its output can have another number of channels than its input. Pooling, noise and user-defined operations
    /// keep it.
    pub fn changes_channels(self) -> bool {
        !self.is_own() && self != Operation::Noise && !self.name().contains("_pool_")
    }

    /// Whether it is a user-defined operation.
    pub fn is_own(self) -> bool {
        matches!(self, Operation::Own(_))
    }

    /// The operation of a name; an error suggests the nearest known name.
    pub fn parse(name: &str) -> Result<Operation> {
        let built_in = NAMES.iter().find(|(_, known)| *known == name).map(|(operation, _)| *operation);
        let own = || OWN.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|known| **known == name).copied();
        built_in.or_else(|| own().map(Operation::Own)).ok_or_else(|| {
            let known: Vec<&str> = NAMES.iter().map(|(_, known)| *known).collect();
            Error::space(unknown("operation", name, &known))
        })
    }

    /// The operations that a list of names gives. For an unknown name, the error lists those of the kind of cell and
    /// number of dimensions; if the kind is not known, those of the other names.
    pub(crate) fn list(field: &Field, of: Option<(CellKind, Option<usize>)>) -> Result<Vec<Operation>> {
        let names = field.texts("a list of operation names")?;
        let (kind, dimensions) = of.unwrap_or_else(|| Operation::kind_of(&names));
        let read = |name: &str| Operation::parse(name).ok();
        let refuse = |name: &str| Error::space(unknown("operation", name, &Operation::names(kind, dimensions)));
        names.iter().map(|name| read(name).ok_or_else(|| refuse(name))).collect()
    }

    /// The kind of cell that may have these operations: recurrent if all that are known, other than `none`, are; and
    /// the dimensions of a convolutional cell, if the first operation with any has them.
    pub(crate) fn kind_of(names: &[&str]) -> (CellKind, Option<usize>) {
        let known = || names.iter().filter_map(|name| Operation::parse(name).ok());
        let mut named = known().filter(|operation| *operation != Operation::None).peekable();
        if named.peek().is_some() && named.all(Operation::is_recurrent) {
            (CellKind::Recurrent, None)
        } else {
            (CellKind::Convolutional, known().find_map(Operation::dimensions))
        }
    }

    /// The names of the operations that a kind of cell may contain; of convolutional cells those of these dimensions
    /// (None: of 2).
    pub(crate) fn names(kind: CellKind, dimensions: Option<usize>) -> Vec<&'static str> {
        let fits = |operation: Operation| kind.allows(operation) && operation.suits(dimensions.unwrap_or(2));
        NAMES.iter().filter(|(operation, _)| fits(*operation)).map(|(_, name)| *name).collect()
    }

    /// The number of dimensions that the operation runs over; None if it may run over any, or is recurrent.
    pub fn dimensions(self) -> Option<usize> {
        match self {
            Operation::None | Operation::SkipConnect | Operation::Noise | Operation::Own(_) => None,
            _ if self.is_recurrent() => None,
            // Names end with the window: "3x3" in two dimensions, "3" in one.
            _ if self.name().rsplit('_').next().is_some_and(|window| window.contains('x')) => Some(2),
            _ => Some(1),
        }
    }

    /// Whether a cell of so many dimensions may have the operation.
    pub fn suits(self, dimensions: usize) -> bool {
        self.dimensions().is_none_or(|own| own == dimensions)
    }

    /// Whether a convolutional cell may contain it.
    pub fn is_convolutional(self) -> bool {
        self == Operation::None || !self.is_recurrent()
    }

    /// Whether a recurrent cell may contain it.
    pub fn is_recurrent(self) -> bool {
        matches!(self, Operation::None | Operation::Tanh | Operation::Relu | Operation::Sigmoid | Operation::Identity)
    }
}

impl Serialize for Operation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Operation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Operation::parse(&name).map_err(serde::de::Error::custom)
    }
}
