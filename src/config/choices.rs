//! Options that are one of several names. The names are those that serde writes.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::error::{Error, Result, unknown};
use crate::json::Field;
use crate::space::Reads;

/// One of several names.
pub(super) trait Choice: Copy + Serialize + 'static {
    /// All of them, in the order in which errors list them.
    const ALL: &'static [Self];
}

/// The choice that a field names.
pub(super) fn choice<T: Choice>(field: &Field) -> Result<T> {
    named(field, field.text(&format!("one of {}", names::<T>().join(", ")))?)
}

/// The choice with this name, which was given in `field`.
fn named<T: Choice>(field: &Field, given: &str) -> Result<T> {
    let names = names::<T>();
    match names.iter().position(|name| name == given) {
        Some(index) => Ok(T::ALL[index]),
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

/// How often α is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Record {
    /// After each epoch.
    Epoch,
    /// After each step.
    Step,
    /// After every n-th step.
    Every(usize),
}

/// Examples per batch, where the search makes the batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchSize {
    /// As many as fit into memory.
    Auto,
    /// This number.
    Given(usize),
}

impl BatchSize {
    /// The number of examples; the published 64 while it is not known how many fit.
    pub fn examples(self) -> usize {
        match self {
            BatchSize::Auto => 64,
            BatchSize::Given(examples) => examples,
        }
    }
}

/// Whether a search continues from the checkpoint in its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Never.
    No,
    /// If data and loss are those of the checkpoint.
    Yes,
    /// Also with other data or another loss.
    Force,
}

impl Resume {
    /// Whether it continues at all.
    pub fn wanted(self) -> bool {
        self != Resume::No
    }
}

impl Serialize for BatchSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            BatchSize::Auto => serializer.serialize_str("auto"),
            BatchSize::Given(examples) => serializer.serialize_u64(*examples as u64),
        }
    }
}

impl Serialize for Resume {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Resume::Force => serializer.serialize_str("force"),
            _ => serializer.serialize_bool(self.wanted()),
        }
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Record::Epoch => serializer.serialize_str("epoch"),
            Record::Step => serializer.serialize_str("step"),
            Record::Every(steps) => serializer.serialize_u64(*steps as u64),
        }
    }
}

pub(super) fn record(field: &Field) -> Result<Record> {
    match field.value.as_str() {
        Some("epoch") => Ok(Record::Epoch),
        Some("step") => Ok(Record::Step),
        _ => {
            let steps = field.whole(1).map(Record::Every);
            steps.map_err(|_| field.refuse("\"epoch\", \"step\" or a whole number of steps of at least 1"))
        }
    }
}

pub(super) fn resume(field: &Field) -> Result<Resume> {
    match field.value {
        Value::Bool(wanted) => Ok(if *wanted { Resume::Yes } else { Resume::No }),
        Value::String(name) if name == "force" => Ok(Resume::Force),
        _ => Err(field.refuse("true, false or \"force\"")),
    }
}

pub(super) fn batch_size(field: &Field) -> Result<BatchSize> {
    if field.value.as_str() == Some("auto") {
        return Ok(BatchSize::Auto);
    }
    let given = field.whole(1).map(BatchSize::Given);
    given.map_err(|_| field.refuse("\"auto\" or a whole number of at least 1"))
}

/// Passes in the order in which they are applied, each once.
pub(super) fn rewrites(field: &Field) -> Result<Vec<Rewrite>> {
    let names = field.texts("a list of names of passes")?;
    let given = names.into_iter().map(|name| named::<Rewrite>(field, name)).collect::<Result<Vec<_>>>()?;
    Ok(Rewrite::ALL.iter().copied().filter(|rewrite| given.contains(rewrite)).collect())
}

/// What moves first in a search step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// α, at the weights before the step.
    ArchFirst,
    /// The weights; α's gradient is taken at the new ones.
    WeightsFirst,
}

/// The optimiser of α.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchOptimizer {
    /// Adam.
    Adam,
    /// Gradient descent without momentum.
    Sgd,
}

/// How often the learning rate of the weights changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RateSchedule {
    /// From epoch to epoch.
    Epoch,
    /// From step to step.
    Step,
}

/// The normal distribution from which the initial logits are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArchInit {
    /// The standard deviation.
    pub deviation: f64,
    /// The mean.
    pub mean: f64,
}

/// The published one.
impl Default for ArchInit {
    fn default() -> Self {
        ArchInit { deviation: 1e-3, mean: 0.0 }
    }
}

impl ArchInit {
    /// The logit of a standard normal number.
    pub fn logit(&self, z: f64) -> f64 {
        let scaled = self.deviation * z;
        // The sum with 0 would turn -0 into 0.
        if self.mean == 0.0 { scaled } else { self.mean + scaled }
    }
}

/// `["normal", deviation]`, or with a mean `["normal", deviation, mean]`.
impl Serialize for ArchInit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.mean {
            0.0 => ("normal", self.deviation).serialize(serializer),
            mean => ("normal", self.deviation, mean).serialize(serializer),
        }
    }
}

pub(super) fn arch_init(field: &Field) -> Result<ArchInit> {
    let expected = "(\"normal\", standard deviation) or (\"normal\", standard deviation, mean)";
    let refused = || field.refuse(expected);
    let [name, numbers @ ..] = field.value.as_array().map(Vec::as_slice).unwrap_or_default() else {
        return Err(refused());
    };
    let numbers: Option<Vec<f64>> = numbers.iter().map(Value::as_f64).collect();
    match (name.as_str(), numbers.as_deref()) {
        (Some("normal"), Some(&[deviation])) if deviation >= 0.0 => Ok(ArchInit { deviation, mean: 0.0 }),
        (Some("normal"), Some(&[deviation, mean])) if deviation >= 0.0 && mean.is_finite() => {
            Ok(ArchInit { deviation, mean })
        }
        _ => Err(refused()),
    }
}

/// Which values of a metric are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricMode {
    /// Large ones.
    Max,
    /// Small ones.
    Min,
}

/// The augmentation of training images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Augment {
    /// No augmentation.
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
    /// Computations that several edges have in common are done once.
    Share,
    /// Mixing weights are folded into the scales of batch norms.
    Fold,
    /// Equal operations on the edges that leave a node are one instruction.
    Group,
    /// Groups that leave a node are added before they are split.
    Sum,
    /// Values that several edges share are mixed for all of them in one product.
    Mixtures,
    /// The product with the input of a recurrent cell is computed for all tokens at once.
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

    /// The rewrites that apply to networks that read images or words, in the order in which they are applied.
    pub fn of(reads: Reads) -> &'static [Rewrite] {
        match reads {
            Reads::Images => {
                &[Rewrite::SpaceToBatch, Rewrite::Share, Rewrite::Fold, Rewrite::Group, Rewrite::Sum, Rewrite::Mixtures]
            }
            Reads::Words => &[Rewrite::Share, Rewrite::Hoist, Rewrite::Stack, Rewrite::Gates],
        }
    }
}

/// Which values a backward pass keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// All that it needs.
    Keep,
    /// The inputs of each cell; the rest is computed again.
    Recompute,
}

/// Whether a search step is captured as a graph and replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Graph {
    /// On devices that have graphs.
    Auto,
    /// Never.
    Off,
}

impl Choice for Order {
    const ALL: &'static [Self] = &[Order::ArchFirst, Order::WeightsFirst];
}

impl Choice for ArchOptimizer {
    const ALL: &'static [Self] = &[ArchOptimizer::Adam, ArchOptimizer::Sgd];
}

impl Choice for RateSchedule {
    const ALL: &'static [Self] = &[RateSchedule::Epoch, RateSchedule::Step];
}

impl Choice for MetricMode {
    const ALL: &'static [Self] = &[MetricMode::Max, MetricMode::Min];
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

impl Choice for Memory {
    const ALL: &'static [Self] = &[Memory::Keep, Memory::Recompute];
}

impl Choice for Graph {
    const ALL: &'static [Self] = &[Graph::Auto, Graph::Off];
}
