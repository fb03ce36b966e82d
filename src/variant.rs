//! Named variants of one idea with their parameters, as data: `{"name": "gumbel", "temperature": 1.0}`.
//!
//! Relaxations, selections and deciders are lists of variants. A variant declares its name and parameters in a
//! [`Spec`]; everything that reads, writes or lists variants uses the specification.

use std::collections::BTreeMap;
use std::fmt::{Debug, Formatter};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result, unknown};
use crate::json::Field;
use crate::schedule::Schedule;

/// The name and the parameters of a variant.
#[derive(Debug)]
pub struct Spec {
    /// The name in configurations.
    pub name: &'static str,
    /// The parameters, in the order in which they are written.
    pub parameters: &'static [Parameter],
}

/// A parameter of a variant.
#[derive(Debug)]
pub struct Parameter {
    /// The name in configurations.
    pub name: &'static str,
    /// The value where none is given.
    pub default: f64,
    /// The values that it takes.
    pub domain: Domain,
}

/// The values that a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Domain {
    /// A number of at least the first and at most the second bound.
    Number(f64, f64),
    /// A number of at least `low` and at most `high`, or a schedule of such numbers.
    Scheduled {
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
        /// If given, the default rises linearly from this number to the default number.
        from: Option<f64>,
    },
    /// A whole number of at least this bound.
    Whole(usize),
    /// One of these names; the value is its index.
    Name(&'static [&'static str]),
    /// Text; none by default.
    Text,
}

/// A rule that is one of several variants.
pub trait Variant: Sync {
    /// Its name and parameters.
    fn spec(&self) -> &'static Spec;
}

/// A variant that was chosen, with the values of its parameters.
pub struct Chosen<V: ?Sized + 'static> {
    rule: &'static V,
    values: Vec<Schedule>,
    /// The parameters of [`Domain::Text`].
    texts: BTreeMap<&'static str, String>,
}

impl<V: Variant + ?Sized> Chosen<V> {
    /// A rule with its default values.
    pub fn new(rule: &'static V) -> Self {
        let value = |parameter: &Parameter| match parameter.domain {
            Domain::Scheduled { from: Some(from), .. } => Schedule::Linear(from, parameter.default),
            _ => Schedule::Constant(parameter.default),
        };
        Chosen { rule, values: rule.spec().parameters.iter().map(value).collect(), texts: BTreeMap::new() }
    }

    /// The same with another value of a parameter; unknown names change nothing.
    pub fn with(mut self, name: &str, value: Schedule) -> Self {
        if let Some(at) = self.rule.spec().parameters.iter().position(|parameter| parameter.name == name) {
            self.values[at] = value;
        }
        self
    }

    /// The variant of `all` that a field gives: a name, or an object with `name` and parameters.
    pub(crate) fn read(field: &Field, all: &[&'static V]) -> Result<Self> {
        let empty = Map::new();
        let (name, given) = match field.value {
            Value::String(name) => (name.as_str(), &empty),
            Value::Object(given) => match given.get("name").and_then(Value::as_str) {
                Some(name) => (name, given),
                None => return Err(field.refuse("an object with the key `name`")),
            },
            _ => {
                let names: Vec<&str> = all.iter().map(|rule| rule.spec().name).collect();
                return Err(field.refuse(&format!("one of {}, or an object with `name`", names.join(", "))));
            }
        };
        let Some(rule) = all.iter().find(|rule| rule.spec().name == name) else {
            let names: Vec<&str> = all.iter().map(|rule| rule.spec().name).collect();
            return Err(Error::new(field.kind, unknown(&format!("`{}`", field.name), name, &names)));
        };
        let spec = rule.spec();
        let mut chosen = Chosen::new(*rule);
        // null means "not given".
        for (key, value) in given.iter().filter(|(key, value)| *key != "name" && !value.is_null()) {
            let Some(at) = spec.parameters.iter().position(|parameter| parameter.name == key) else {
                let known: Vec<&str> = spec.parameters.iter().map(|parameter| parameter.name).collect();
                let why = match known[..] {
                    [] => format!("`{}`: `{name}` has no parameters; leave out `{key}`", field.name),
                    _ => unknown(&format!("parameter of `{name}`"), key, &known),
                };
                return Err(Error::new(field.kind, why));
            };
            let qualified = format!("{}.{key}", field.name);
            let field = Field { kind: field.kind, name: &qualified, value };
            match spec.parameters[at].domain {
                Domain::Text => {
                    let text = field.text("text")?.to_string();
                    if text.is_empty() {
                        return Err(field.refuse("text that is not empty"));
                    }
                    chosen.texts.insert(spec.parameters[at].name, text);
                }
                domain => chosen.values[at] = domain.read(&field)?,
            }
        }
        Ok(chosen)
    }

    /// Its functions.
    pub fn rule(&self) -> &'static V {
        self.rule
    }

    /// The name.
    pub fn name(&self) -> &'static str {
        self.rule.spec().name
    }

    /// The parameters that change with the epoch, with their values in an epoch of a search of `epochs` epochs.
    pub fn scheduled(&self, epoch: usize, epochs: usize) -> Vec<(&'static str, f64)> {
        let parameters = self.rule.spec().parameters.iter().zip(&self.values);
        let scheduled = parameters.filter(|(_, value)| !matches!(value, Schedule::Constant(_)));
        scheduled.map(|(parameter, value)| (parameter.name, value.at(epoch, epochs))).collect()
    }

    /// The text of a parameter of [`Domain::Text`]; None if there is none.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// The values of the parameters in an epoch of a search of `epochs` epochs.
    pub fn at(&self, epoch: usize, epochs: usize) -> Vec<f64> {
        self.values.iter().map(|value| value.at(epoch, epochs)).collect()
    }
}

/// JSON that [`Chosen::read`] reads to the same value.
impl<V: Variant + ?Sized> Serialize for Chosen<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Map::from_iter([("name".to_string(), json!(self.name()))]);
        for (parameter, value) in self.rule.spec().parameters.iter().zip(&self.values) {
            let value = match (parameter.domain, value) {
                (Domain::Whole(_), Schedule::Constant(number)) => json!(*number as usize),
                (Domain::Name(names), Schedule::Constant(index)) => json!(names[*index as usize]),
                (Domain::Text, _) => json!(self.text(parameter.name)),
                _ => value.to_value(),
            };
            object.insert(parameter.name.to_string(), value);
        }
        object.serialize(serializer)
    }
}

impl<V: ?Sized> Clone for Chosen<V> {
    fn clone(&self) -> Self {
        Chosen { rule: self.rule, values: self.values.clone(), texts: self.texts.clone() }
    }
}

/// Variants of one list have different names.
impl<V: Variant + ?Sized> PartialEq for Chosen<V> {
    fn eq(&self, other: &Self) -> bool {
        (self.name(), &self.values, &self.texts) == (other.name(), &other.values, &other.texts)
    }
}

impl<V: Variant + ?Sized> Debug for Chosen<V> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct(self.name()).field("values", &self.values).field("texts", &self.texts).finish()
    }
}

impl Domain {
    fn read(self, field: &Field) -> Result<Schedule> {
        match self {
            Domain::Number(low, high) => field
                .number(&format!("a number from {low} to {high}"), |number| (low..=high).contains(&number))
                .map(Schedule::Constant),
            Domain::Scheduled { low, high, .. } => {
                let expected = format!("a number from {} to {}", short(low), short(high));
                Schedule::read(field, &expected, |number| (low..=high).contains(&number))
            }
            Domain::Whole(low) => field.whole(low).map(|number| Schedule::Constant(number as f64)),
            Domain::Name(names) => {
                let name = field.text(&format!("one of {}", names.join(", ")))?;
                let index = names.iter().position(|known| *known == name);
                let unknown = || Error::new(field.kind, unknown(&format!("`{}`", field.name), name, names));
                index.map(|index| Schedule::Constant(index as f64)).ok_or_else(unknown)
            }
            Domain::Text => Ok(Schedule::Constant(0.0)),
        }
    }
}

/// A number in as few characters as are common: 0.03, 1e6.
fn short(number: f64) -> String {
    let common = number == 0.0 || (1e-3..1e5).contains(&number.abs());
    if common { number.to_string() } else { format!("{number:e}") }
}
