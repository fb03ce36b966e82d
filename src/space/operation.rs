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
    Tanh,
    Relu,
    Sigmoid,
    Identity,
    /// An operation of the user's own, see [`Operation::own`].
    Own(&'static str),
}

/// The names of the operations of the user's own. They are few and are never freed.
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

    /// An operation of the user's own. From now on `parse` knows its name, which is a word of letters, digits and
    /// underscores, as it is a part of the names of weights.
    pub fn own(name: &str) -> Result<Operation> {
        let refuse = |detail: &str| Err(Error::space(format!("the operation `{}` {detail}", cut(name))));
        if NAMES.iter().any(|(_, known)| *known == name) {
            return refuse("is a built-in one; choose another name");
        }
        let word = name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
        if !word || name.starts_with(|first: char| !first.is_ascii_alphabetic()) || name.len() > LONGEST_NAME {
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

    /// Whether it is an operation of the user's own.
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

    /// The operations that a list of names gives. For an unknown name, the error lists those of the kind of cell; if
    /// it is not known, that of the other names.
    pub(crate) fn list(field: &Field, kind: Option<CellKind>) -> Result<Vec<Operation>> {
        let names = field.texts("a list of operation names")?;
        let kind = kind.unwrap_or_else(|| Operation::kind_of(&names));
        let read = |name: &str| Operation::parse(name).ok();
        let refuse = |name: &str| Error::space(unknown("operation", name, &Operation::names(kind)));
        names.iter().map(|name| read(name).ok_or_else(|| refuse(name))).collect()
    }

    /// The kind of cell that may have these operations: recurrent if all that are known, other than `none`, are.
    pub(crate) fn kind_of(names: &[&str]) -> CellKind {
        let known = names.iter().filter_map(|name| Operation::parse(name).ok());
        let mut named = known.filter(|operation| *operation != Operation::None).peekable();
        if named.peek().is_some() && named.all(Operation::is_recurrent) {
            CellKind::Recurrent
        } else {
            CellKind::Convolutional
        }
    }

    /// The names of the operations that a kind of cell may contain.
    pub(crate) fn names(kind: CellKind) -> Vec<&'static str> {
        NAMES.iter().filter(|(operation, _)| kind.allows(*operation)).map(|(_, name)| *name).collect()
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
