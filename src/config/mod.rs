//! The options of a search: published defaults, ranges, and JSON.

mod choices;
mod combinations;
mod data;
mod execution;
pub(crate) mod hypergradient;
mod network;
mod optimisation;
mod readers;
mod table;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result, cut, unknown};
use crate::json::Field;
use crate::schedule::Schedule;
use crate::space::{Operation, Reads, Space};

pub use choices::{
    ArchInit, ArchOptimizer, Augment, BatchSize, Graph, Memory, MetricMode, Order, Precision, RateSchedule, Record,
    Resume, Rewrite,
};
pub use data::DataConfig;
pub use execution::ExecutionConfig;
pub use hypergradient::{Estimator, Hypergradient, Method};
pub use network::NetworkConfig;
pub use optimisation::OptimisationConfig;
use table::{Entry, Published};

/// The options of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchConfig {
    /// The search space, with the given `nodes` and `operations` applied.
    pub space: Space,
    /// The option `operations` as it was given.
    pub operations: Option<Vec<Operation>>,
    /// Sizes and dropout of the search network.
    pub network: NetworkConfig,
    /// How weights and α are updated.
    pub optimisation: OptimisationConfig,
    /// How the data is split, batched, normalised and augmented.
    pub data: DataConfig,
    /// Where and how the search runs.
    pub execution: ExecutionConfig,
}

/// The options that determine the space, in this order; they are read before all others.
const SPACE: [&str; 3] = ["space", "nodes", "operations"];

/// An option of earlier versions, ignored so that their configurations and checkpoints can still be read.
const RETIRED: &str = "tune";

/// Every option except those of the space.
fn entries() -> impl Iterator<Item = &'static Entry> {
    [NetworkConfig::ENTRIES, OptimisationConfig::ENTRIES, DataConfig::ENTRIES, ExecutionConfig::ENTRIES]
        .into_iter()
        .flatten()
}

/// The largest value of a size. Wide, but such that no shape overflows.
pub(crate) fn largest(name: &str) -> usize {
    entries().find(|entry| entry.name == name).and_then(|entry| entry.largest).unwrap_or(usize::MAX)
}

impl Default for SearchConfig {
    fn default() -> Self {
        SearchConfig::published(Space::default())
    }
}

impl SearchConfig {
    /// The published options for a space.
    fn published(space: Space) -> SearchConfig {
        let of = Published::of(&space);
        SearchConfig {
            operations: None,
            network: NetworkConfig::published(of),
            optimisation: OptimisationConfig::published(of),
            data: DataConfig::published(of),
            execution: ExecutionConfig::published(of),
            space,
        }
    }

    /// The complete defaults of a space given by name.
    pub fn defaults(space: &str) -> Result<SearchConfig> {
        Ok(SearchConfig::published(Space::preset(space)?))
    }

    /// The options of a JSON object; those left out have the published value for the space.
    pub fn from_json(text: &str) -> Result<SearchConfig> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Error::config(format!("the configuration is not JSON: {error}")).with_source(error))?;
        SearchConfig::from_value(&value)
    }

    /// As `from_json`, from JSON already parsed.
    pub(crate) fn from_value(value: &Value) -> Result<SearchConfig> {
        let Value::Object(given) = value else {
            let given = cut(&value.to_string());
            return Err(Error::config(format!("the configuration is {given}; it must be an object")));
        };
        let mut config = SearchConfig::for_space(given)?;
        let is_own = |name: &str| !SPACE.contains(&name) && name != RETIRED;
        for (name, value) in given.iter().filter(|(name, _)| is_own(name)) {
            config.set(&Field { kind: ErrorKind::Config, name, value })?;
        }
        config.set_length()?;
        config.check_together()?;
        Ok(config)
    }

    /// The defaults for the space that `space`, `nodes` and `operations` define together.
    fn for_space(given: &Map<String, Value>) -> Result<SearchConfig> {
        let [space, nodes, operations] = SPACE.map(|name| {
            let value = given.get(name).filter(|value| !value.is_null())?;
            Some(Field { kind: ErrorKind::Config, name, value })
        });
        let nodes = nodes.map(|field| field.at_least(1)).transpose()?;
        let of = |space: Space| Some((space.kind(), space.dimensions()));
        let kind = match space.map(|field| field.value) {
            None => of(Space::default()),
            Some(Value::String(name)) => of(Space::preset(name)?),
            Some(_) => None,
        };
        let operations = operations.map(|field| Operation::list(&field, kind)).transpose()?;
        let space = match space {
            None => Space::default().with(nodes, operations.as_deref()),
            Some(Field { value: Value::String(name), .. }) => Space::preset(name)?.with(nodes, operations.as_deref()),
            Some(field) => {
                let space = Space::from_value(field.value)?;
                if let Some(nodes) = nodes.filter(|nodes| *nodes != space.nodes()) {
                    return Err(Error::config(format!(
                        "`nodes` is {nodes} and `space` has {}; leave `nodes` out, or give the space by name",
                        space.nodes()
                    )));
                }
                if operations.is_some() && operations.as_deref() != space.uniform_operations() {
                    return Err(Error::config(
                        "`operations` differs from those of `space`; leave `operations` out, or give the space by name",
                    ));
                }
                space
            }
        };
        space.validate()?;
        Ok(SearchConfig { operations, ..SearchConfig::published(space) })
    }

    /// Sets one option if its value is in range.
    fn set(&mut self, field: &Field) -> Result<()> {
        self.network
            .set(field)
            .or_else(|| self.optimisation.set(field))
            .or_else(|| self.data.set(field))
            .or_else(|| self.execution.set(field))
            .unwrap_or_else(|| {
                let defaults = SearchConfig::default().to_object();
                let known: Vec<&str> = defaults.keys().map(String::as_str).collect();
                Err(Error::config(unknown("option", field.name, &known)))
            })
    }

    /// Reads `image_size` as the length of a sequence, an image of height 1, where the space is one of sequences.
    fn set_length(&mut self) -> Result<()> {
        if self.space.dimensions() != Some(1) {
            return Ok(());
        }
        if let Some((height, width)) = self.network.image_size {
            if height != width && height != 1 {
                return Err(Error::config(format!(
                    "`image_size` is [{height}, {width}]; space `{}` reads sequences: give their length, one number",
                    self.space.name
                )));
            }
            self.network.image_size = Some((1, width));
        }
        let given = [("augment", self.data.augment != Augment::None), ("cutout", self.data.cutout > 0)];
        match given.iter().find(|(_, given)| *given) {
            Some((name, _)) => {
                Err(Error::config(format!("`{name}` applies to images only; leave it out with a space of sequences")))
            }
            None => Ok(()),
        }
    }

    /// Checks the rules that involve several options.
    fn check_together(&self) -> Result<()> {
        let OptimisationConfig { weight_lr, weight_lr_min, .. } = self.optimisation;
        if weight_lr_min > weight_lr {
            return Err(Error::config(format!(
                "`weight_lr_min` is {weight_lr_min} and `weight_lr` {weight_lr}; the learning rate decreases, so \
                 `weight_lr_min` must be at most `weight_lr`: with weight_lr_min={weight_lr} it stays constant"
            )));
        }
        let foreign = |pass: &&Rewrite| !Rewrite::of(self.space.reads()).contains(pass);
        if let Some(pass) = self.execution.passes.iter().flatten().find(foreign) {
            let own: Vec<String> = Rewrite::of(self.space.reads()).iter().map(|pass| json!(pass).to_string()).collect();
            return Err(Error::config(format!(
                "`passes`: pass {} does not apply to this space; choose from {}",
                json!(pass),
                own.join(", ")
            )));
        }
        if self.space.reads() == Reads::Words {
            self.check_words()?;
        }
        combinations::check(self)?;
        if self.execution.checkpoint_dir.is_none() {
            let given = [
                ("resume", self.execution.resume.wanted()),
                ("checkpoint_every", self.execution.checkpoint_every.is_some()),
            ];
            if let Some((name, _)) = given.iter().find(|(_, given)| *given) {
                return Err(Error::config(format!("`{name}` requires `checkpoint_dir`; give both")));
            }
        }
        let (mean, std) = (self.data.mean.as_ref().map(Vec::len), self.data.std.as_ref().map(Vec::len));
        if mean != std {
            return Err(Error::config("`mean` and `std` must be given together, one number per channel each"));
        }
        match (mean, self.network.in_channels) {
            (Some(numbers), Some(channels)) if numbers != channels => Err(Error::config(format!(
                "`mean` and `std` hold {numbers} numbers and `in_channels` is {channels}; give one number per channel"
            ))),
            _ => Ok(()),
        }
    }

    /// Checks the rules that hold for networks that read words.
    fn check_words(&self) -> Result<()> {
        let (data, execution) = (&self.data, &self.execution);
        let foreign = [("memory", execution.memory != Memory::Keep), ("micro_batch", execution.micro_batch.is_some())];
        if let Some((name, _)) = foreign.iter().find(|(_, given)| *given) {
            return Err(Error::config(format!("`{name}` applies to images only; leave it out with a recurrent space")));
        }
        let dropped = [("drop_path", self.network.drop_path), ("skip_dropout", self.network.skip_dropout)];
        if let Some((name, _)) = dropped.iter().find(|(_, given)| *given != Schedule::Constant(0.0)) {
            return Err(Error::config(format!(
                "`{name}` applies to networks of images and sequences; a recurrent space has dropout of its own: use \
                 `dropout_input`, `dropout_hidden` and the like"
            )));
        }
        let sizes = [("batch_size", Some(data.batch_size.examples())), ("eval_batch_size", data.eval_batch_size)];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == Some(1)) {
            return Err(Error::config(format!(
                "`{name}` is 1; a recurrent cell is normalised over the sequences of a batch, so give at least 2"
            )));
        }
        Ok(())
    }

    /// Checks every range and rule, for a configuration that was not made by `from_json`.
    pub fn validate(&self) -> Result<()> {
        self.space.validate()?;
        // Writing and reading applies the only definition of each range.
        SearchConfig::from_value(&Value::Object(self.to_object())).map(|_| ())
    }

    /// All options as JSON that `from_json` reads to the same configuration.
    pub fn to_json(&self) -> String {
        Value::Object(self.to_object()).to_string()
    }

    /// As `to_json`, as an object. A preset, with other nodes or operations perhaps, is written by its name.
    pub(crate) fn to_object(&self) -> Map<String, Value> {
        let named = Space::preset(&self.space.name)
            .map(|preset| preset.with(Some(self.space.nodes()), self.operations.as_deref()));
        let by_name = named.is_ok_and(|named| named == self.space);
        self.object(if by_name { json!(self.space.name) } else { json!(self.space) })
    }

    /// All options by name, in the order of their positions.
    fn object(&self, space: Value) -> Map<String, Value> {
        let own =
            [(0, "space", space), (3, "nodes", json!(self.space.nodes())), (4, "operations", json!(self.operations))];
        let mut values = Vec::from(own);
        values.extend(self.network.values());
        values.extend(self.optimisation.values());
        values.extend(self.data.values());
        values.extend(self.execution.values());
        values.sort_by_key(|(position, ..)| *position);
        values.into_iter().map(|(_, name, value)| (name.to_string(), value)).collect()
    }

    /// The options that make another configuration a different search: name, our value, their value, as JSON.
    pub fn differences(&self, other: &SearchConfig) -> Vec<(String, String, String)> {
        let may_differ = |name: &str| entries().any(|entry| entry.name == name && entry.may_differ);
        // The code of user-defined operations is compared by the fingerprint.
        let values = |config: &SearchConfig| {
            let mut values = config.to_object();
            values.get_mut("space").and_then(Value::as_object_mut).map(|space| space.remove("own_operations"));
            values.into_iter().filter(|(name, _)| !may_differ(name)).collect::<Vec<_>>()
        };
        let ours = values(self).into_iter();
        ours.zip(values(other))
            .filter(|((_, ours), (_, theirs))| ours != theirs)
            .map(|((name, ours), (_, theirs))| (name, ours.to_string(), theirs.to_string()))
            .collect()
    }
}

/// Checkpoints hold the whole space, so that a later change of a preset does not change them.
impl Serialize for SearchConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object(json!(self.space)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SearchConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        SearchConfig::from_value(&value).map_err(serde::de::Error::custom)
    }
}
