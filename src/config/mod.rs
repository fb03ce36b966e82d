//! The options of a search: the published defaults, the range of each, and their JSON.

mod choices;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use choices::{choice, named};

use crate::error::{Error, ErrorKind, Result, cut, unknown};
use crate::fields::Field;
use crate::space::{CellKind, Operation, Space};

pub use choices::{Augment, Graph, Memory, Method, Precision, Rewrite, Tune};

/// How often α is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Record {
    /// After each epoch.
    Epoch,
    /// After each step.
    Step,
    /// After each n-th step.
    Every(usize),
}

/// Examples a batch, where the search makes the batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchSize {
    /// As many as fit into memory.
    Auto,
    /// So many.
    Given(usize),
}

impl BatchSize {
    /// How many; before it is known how many fit, the published 64.
    pub fn examples(self) -> usize {
        match self {
            BatchSize::Auto => 64,
            BatchSize::Given(examples) => examples,
        }
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

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Record::Epoch => serializer.serialize_str("epoch"),
            Record::Step => serializer.serialize_str("step"),
            Record::Every(steps) => serializer.serialize_u64(*steps as u64),
        }
    }
}

/// The options of a search, in the order in which they are documented and written.
///
/// `nodes` and `operations` mirror what `space` holds; `operations` stays none when it was not given.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)] // what each option means is written once, for the user, beside the Python class
pub struct SearchConfig {
    pub space: Space,
    pub channels: usize,
    pub layers: usize,
    pub nodes: usize,
    pub operations: Option<Vec<Operation>>,
    pub num_classes: Option<usize>,
    pub in_channels: Option<usize>,
    pub image_size: Option<(usize, usize)>,
    pub epochs: usize,
    pub batch_size: BatchSize,
    pub hypergradient: Method,
    pub epsilon: f64,
    pub weight_lr: f64,
    pub weight_lr_min: f64,
    pub weight_momentum: f64,
    pub weight_decay: f64,
    pub grad_clip: f64,
    pub arch_lr: f64,
    pub arch_betas: (f64, f64),
    pub arch_weight_decay: f64,
    pub arch_start_epoch: usize,
    pub train_portion: f64,
    pub augment: Augment,
    pub seed: u64,
    pub device: String,
    pub precision: Precision,
    pub record: Record,
    pub checkpoint_dir: Option<String>,
    pub resume: bool,
    pub progress: bool,
    pub mean: Option<Vec<f64>>,
    pub std: Option<Vec<f64>>,
    pub cutout: usize,
    pub checkpoint_every: Option<usize>,
    pub eval_batch_size: Option<usize>,
    pub passes: Option<Vec<Rewrite>>,
    pub tune: Tune,
    pub memory: Memory,
    pub micro_batch: Option<usize>,
    pub log_every: usize,
    pub graph: Graph,
    pub units: usize,
    pub bptt: usize,
    pub dropout_rows: f64,
    pub dropout_embedded: f64,
    pub dropout_input: f64,
    pub dropout_hidden: f64,
    pub dropout_output: f64,
    pub slowness: f64,
}

/// The largest value of each size of a network. Wide, but such that no shape overflows.
const LARGEST: &[(&str, usize)] = &[
    ("channels", 4096),
    ("layers", 1000),
    ("num_classes", 10_000_000),
    ("in_channels", 4096),
    ("image_size", 65_536),
    ("units", 65_536),
];

/// The largest value of a size.
pub(crate) fn largest(name: &str) -> usize {
    LARGEST.iter().find(|(known, _)| *known == name).map_or(usize::MAX, |(_, largest)| *largest)
}

/// What two runs may differ in and still be the same search.
const IRRELEVANT: &[&str] =
    &["device", "checkpoint_dir", "resume", "progress", "checkpoint_every", "tune", "log_every", "graph"];

impl Default for SearchConfig {
    fn default() -> Self {
        SearchConfig::published(Space::published(CellKind::Convolutional))
    }
}

impl SearchConfig {
    /// The published options for a space of either kind. The only place where defaults stand.
    fn published(space: Space) -> SearchConfig {
        let config = SearchConfig {
            nodes: space.nodes,
            space,
            channels: 16,
            layers: 8,
            operations: None,
            num_classes: None,
            in_channels: None,
            image_size: None,
            epochs: 50,
            batch_size: BatchSize::Given(64),
            hypergradient: Method::FirstOrder,
            epsilon: 0.01,
            weight_lr: 0.025,
            weight_lr_min: 0.001,
            weight_momentum: 0.9,
            weight_decay: 3e-4,
            grad_clip: 5.0,
            arch_lr: 3e-4,
            arch_betas: (0.5, 0.999),
            arch_weight_decay: 1e-3,
            arch_start_epoch: 0,
            train_portion: 0.5,
            augment: Augment::None,
            seed: 0,
            device: "auto".to_string(),
            precision: Precision::Auto,
            record: Record::Epoch,
            checkpoint_dir: None,
            resume: false,
            progress: true,
            mean: None,
            std: None,
            cutout: 0,
            checkpoint_every: None,
            eval_batch_size: None,
            passes: None,
            tune: Tune::Cached,
            memory: Memory::Keep,
            micro_batch: None,
            log_every: 1,
            graph: Graph::Auto,
            units: 300,
            bptt: 35,
            dropout_rows: 0.0,
            dropout_embedded: 0.2,
            dropout_input: 0.75,
            dropout_hidden: 0.25,
            dropout_output: 0.75,
            slowness: 1e-3,
        };
        match config.space.kind {
            CellKind::Convolutional => config,
            CellKind::Recurrent => SearchConfig {
                batch_size: BatchSize::Given(256),
                // The published recurrent search keeps its learning rate.
                weight_lr: 20.0,
                weight_lr_min: 20.0,
                weight_momentum: 0.0,
                weight_decay: 5e-7,
                grad_clip: 0.25,
                arch_lr: 3e-3,
                arch_betas: (0.9, 0.999),
                ..config
            },
        }
    }

    /// The options of a JSON object; those left out have the published value for the space.
    pub fn from_json(text: &str) -> Result<SearchConfig> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Error::config(format!("the configuration is not JSON: {error}")).with_source(error))?;
        SearchConfig::from_value(&value)
    }

    fn from_value(value: &Value) -> Result<SearchConfig> {
        let Value::Object(given) = value else {
            let given = cut(&value.to_string());
            return Err(Error::config(format!("the configuration is {given}; it must be an object")));
        };
        let mut config = SearchConfig::for_space(given)?;
        for (name, value) in given {
            config.set(Field { kind: ErrorKind::Config, name, value })?;
        }
        config.check_together()?;
        Ok(config)
    }

    /// The defaults for the space that `space`, `nodes` and `operations` name together.
    fn for_space(given: &Map<String, Value>) -> Result<SearchConfig> {
        let field = |name: &'static str| {
            let value = given.get(name).filter(|value| !value.is_null())?;
            Some(Field { kind: ErrorKind::Config, name, value })
        };
        let nodes = field("nodes").map(|field| field.whole(1)).transpose()?;
        let operations = field("operations").map(|field| operations(&field)).transpose()?;
        let space = match field("space") {
            None => Space::published(CellKind::Convolutional).with(nodes, operations.as_deref()),
            Some(Field { value: Value::String(name), .. }) => Space::preset(name)?.with(nodes, operations.as_deref()),
            Some(field) => {
                let space = Space::from_value(field.value)?;
                if let Some(nodes) = nodes.filter(|nodes| *nodes != space.nodes) {
                    return Err(Error::config(format!(
                        "`nodes` is {nodes} and `space` has {}; leave `nodes` out, or give the space by name",
                        space.nodes
                    )));
                }
                if operations.as_ref().is_some_and(|operations| *operations != space.operations) {
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

    /// Takes one option if it is in range. The only place where ranges stand.
    fn set(&mut self, field: Field) -> Result<()> {
        let positive = |number: f64| number > 0.0;
        let not_negative = |number: f64| number >= 0.0;
        let share = |number: f64| (0.0..1.0).contains(&number);
        const POSITIVE: &str = "a number greater than 0";
        const NOT_NEGATIVE: &str = "a number of at least 0";
        const SHARE: &str = "a number from 0 up to, but not including, 1";
        let count = |field: &Field| field.whole_within(1, largest(field.name));
        match field.name {
            // Taken together, before the others.
            "space" | "nodes" | "operations" => {}
            "channels" => self.channels = count(&field)?,
            "layers" => self.layers = count(&field)?,
            "num_classes" => self.num_classes = field.optional(count)?,
            "in_channels" => self.in_channels = field.optional(count)?,
            "image_size" => self.image_size = field.optional(image_size)?,
            "epochs" => self.epochs = field.whole(1)?,
            "batch_size" => self.batch_size = batch_size(&field)?,
            "hypergradient" => self.hypergradient = choice(&field)?,
            "epsilon" => self.epsilon = field.number(POSITIVE, positive)?,
            "weight_lr" => self.weight_lr = field.number(NOT_NEGATIVE, not_negative)?,
            "weight_lr_min" => self.weight_lr_min = field.number(NOT_NEGATIVE, not_negative)?,
            "weight_momentum" => self.weight_momentum = field.number(SHARE, share)?,
            "weight_decay" => self.weight_decay = field.number(NOT_NEGATIVE, not_negative)?,
            "grad_clip" => self.grad_clip = field.number(POSITIVE, positive)?,
            "arch_lr" => self.arch_lr = field.number(NOT_NEGATIVE, not_negative)?,
            "arch_betas" => {
                let expected = "two numbers from 0 up to, but not including, 1";
                self.arch_betas = match field.numbers(expected, share)?[..] {
                    [first, second] => (first, second),
                    _ => return Err(field.refuse(expected)),
                };
            }
            "arch_weight_decay" => self.arch_weight_decay = field.number(NOT_NEGATIVE, not_negative)?,
            "arch_start_epoch" => self.arch_start_epoch = field.whole(0)?,
            "train_portion" => {
                let between = |number: f64| number > 0.0 && number < 1.0;
                self.train_portion = field.number("a number between 0 and 1, neither of them", between)?;
            }
            "augment" => self.augment = choice(&field)?,
            "seed" => {
                let expected = || field.refuse("a whole number of at least 0, below 2 to the power of 64");
                self.seed = field.value.as_u64().ok_or_else(expected)?;
            }
            "device" => self.device = device(&field)?,
            "precision" => self.precision = choice(&field)?,
            "record" => self.record = record(&field)?,
            "checkpoint_dir" => self.checkpoint_dir = field.optional(path)?,
            "resume" => self.resume = field.flag()?,
            "progress" => self.progress = field.flag()?,
            "mean" => {
                self.mean = field.optional(|field| field.numbers("a list of numbers, one a channel", |_| true))?;
            }
            "std" => {
                let expected = "a list of numbers greater than 0, one a channel";
                self.std = field.optional(|field| field.numbers(expected, positive))?;
            }
            "cutout" => self.cutout = field.whole(0)?,
            "checkpoint_every" => self.checkpoint_every = field.optional(|field| field.whole(1))?,
            "eval_batch_size" => self.eval_batch_size = field.optional(|field| field.whole(1))?,
            "passes" => self.passes = field.optional(rewrites)?,
            "tune" => self.tune = choice(&field)?,
            "memory" => self.memory = choice(&field)?,
            "micro_batch" => self.micro_batch = field.optional(|field| field.whole(1))?,
            "log_every" => self.log_every = field.whole(1)?,
            "graph" => self.graph = choice(&field)?,
            "units" => self.units = count(&field)?,
            "bptt" => self.bptt = field.whole(1)?,
            "dropout_rows" => self.dropout_rows = field.number(SHARE, share)?,
            "dropout_embedded" => self.dropout_embedded = field.number(SHARE, share)?,
            "dropout_input" => self.dropout_input = field.number(SHARE, share)?,
            "dropout_hidden" => self.dropout_hidden = field.number(SHARE, share)?,
            "dropout_output" => self.dropout_output = field.number(SHARE, share)?,
            "slowness" => self.slowness = field.number(NOT_NEGATIVE, not_negative)?,
            name => {
                let defaults = SearchConfig::default().to_object();
                let known: Vec<&str> = defaults.keys().map(String::as_str).collect();
                return Err(Error::config(unknown("option", name, &known)));
            }
        }
        Ok(())
    }

    /// What no option can tell alone.
    fn check_together(&self) -> Result<()> {
        if self.weight_lr_min > self.weight_lr {
            return Err(Error::config(format!(
                "`weight_lr_min` is {} and `weight_lr` {}; the rate falls, so `weight_lr_min` must be at most \
                 `weight_lr`",
                self.weight_lr_min, self.weight_lr
            )));
        }
        let kind = self.space.kind;
        let foreign = |pass: &&Rewrite| !Rewrite::of(kind).contains(pass);
        if let Some(pass) = self.passes.iter().flatten().find(foreign) {
            let own: Vec<String> = Rewrite::of(kind).iter().map(|pass| json!(pass).to_string()).collect();
            return Err(Error::config(format!(
                "`passes` has {}, which rewrites nothing of this space; there are {}",
                json!(pass),
                own.join(", ")
            )));
        }
        if kind == CellKind::Recurrent {
            let foreign = [("memory", self.memory != Memory::Keep), ("micro_batch", self.micro_batch.is_some())];
            if let Some((name, _)) = foreign.iter().find(|(_, given)| *given) {
                return Err(Error::config(format!("`{name}` is for images; leave it out with a recurrent space")));
            }
            let sizes = [("batch_size", Some(self.batch_size.examples())), ("eval_batch_size", self.eval_batch_size)];
            if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == Some(1)) {
                return Err(Error::config(format!(
                    "`{name}` is 1; a recurrent cell is normalised over the sequences of a batch, so give at least 2"
                )));
            }
        }
        if self.checkpoint_dir.is_none() {
            let asked = [("resume", self.resume), ("checkpoint_every", self.checkpoint_every.is_some())];
            if let Some((name, _)) = asked.iter().find(|(_, given)| *given) {
                return Err(Error::config(format!("`{name}` is set and `checkpoint_dir` is not; give both")));
            }
        }
        let (mean, std) = (self.mean.as_ref().map(Vec::len), self.std.as_ref().map(Vec::len));
        if mean != std {
            return Err(Error::config(
                "`mean` and `std` go together: give both, one number a channel each, or neither",
            ));
        }
        match (mean, self.in_channels) {
            (Some(numbers), Some(channels)) if numbers != channels => Err(Error::config(format!(
                "`mean` and `std` hold {numbers} numbers and `in_channels` is {channels}; give one number a channel"
            ))),
            _ => Ok(()),
        }
    }

    /// Examples that are computed at once: a batch, or a part of it.
    pub fn examples_at_once(&self) -> usize {
        let batch = self.batch_size.examples();
        self.micro_batch.map_or(batch, |part| part.min(batch))
    }

    /// Whether every option is in range and they agree. `from_json` has asked this already.
    pub fn validate(&self) -> Result<()> {
        // Written and read again, so that each range stands in one place.
        SearchConfig::from_value(&Value::Object(self.to_object())).map(|_| ())
    }

    /// All options as JSON that `from_json` reads to the same configuration.
    pub fn to_json(&self) -> String {
        Value::Object(self.to_object()).to_string()
    }

    /// The complete defaults of a space given by name.
    pub fn defaults_json(space: &str) -> Result<String> {
        Ok(SearchConfig::published(Space::preset(space)?).to_json())
    }

    fn to_object(&self) -> Map<String, Value> {
        // Serialising this struct cannot fail: it has no maps and no foreign types.
        let Ok(Value::Object(mut object)) = serde_json::to_value(self) else {
            return Map::new();
        };
        let named =
            Space::preset(&self.space.name).map(|preset| preset.with(Some(self.nodes), self.operations.as_deref()));
        if named.is_ok_and(|named| named == self.space) {
            object.insert("space".to_string(), json!(self.space.name));
        }
        object
    }

    /// The options in which another configuration is a different search: name, ours, theirs, as JSON.
    pub fn differences(&self, other: &SearchConfig) -> Vec<(String, String, String)> {
        let theirs = other.to_object();
        let differs = |(name, ours): (String, Value)| {
            let theirs = theirs.get(&name)?;
            (ours != *theirs && !IRRELEVANT.contains(&name.as_str()))
                .then(|| (name, ours.to_string(), theirs.to_string()))
        };
        self.to_object().into_iter().filter_map(differs).collect()
    }
}

impl<'de> Deserialize<'de> for SearchConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        SearchConfig::from_value(&value).map_err(serde::de::Error::custom)
    }
}

/// Passes in the order in which they are applied, each once.
fn rewrites(field: &Field) -> Result<Vec<Rewrite>> {
    let names = field.texts("a list of names of passes")?;
    let given = names.into_iter().map(|name| named::<Rewrite>(field, name)).collect::<Result<Vec<_>>>()?;
    Ok(Rewrite::ALL.iter().copied().filter(|rewrite| given.contains(rewrite)).collect())
}

fn operations(field: &Field) -> Result<Vec<Operation>> {
    let names = field.texts("a list of operation names")?;
    names.into_iter().map(Operation::parse).collect()
}

/// A side, or height and width.
fn image_size(field: &Field) -> Result<(usize, usize)> {
    let most = largest(field.name);
    let expected = format!("a whole number, or two of them, height and width, from 1 to {most}");
    let within = |side: usize| (1..=most).contains(&side);
    let sides = match field.value {
        Value::Array(_) => field.wholes().map_err(|_| field.refuse(&expected))?,
        _ => field.whole(1).map(|side| vec![side, side]).map_err(|_| field.refuse(&expected))?,
    };
    match sides[..] {
        [height, width] if within(height) && within(width) => Ok((height, width)),
        _ => Err(field.refuse(&expected)),
    }
}

fn device(field: &Field) -> Result<String> {
    let expected = "\"auto\", \"cpu\", \"cuda\" or \"cuda:\" and a number";
    let name = field.text(expected)?;
    let numbered = name.strip_prefix("cuda:").is_some_and(|number| number.parse::<u8>().is_ok());
    if numbered || ["auto", "cpu", "cuda"].contains(&name) { Ok(name.to_string()) } else { Err(field.refuse(expected)) }
}

fn record(field: &Field) -> Result<Record> {
    match field.value.as_str() {
        Some("epoch") => Ok(Record::Epoch),
        Some("step") => Ok(Record::Step),
        _ => {
            let steps = field.whole(1).map(Record::Every);
            steps.map_err(|_| field.refuse("\"epoch\", \"step\" or a whole number of steps of at least 1"))
        }
    }
}

fn batch_size(field: &Field) -> Result<BatchSize> {
    if field.value.as_str() == Some("auto") {
        return Ok(BatchSize::Auto);
    }
    let given = field.whole(1).map(BatchSize::Given);
    given.map_err(|_| field.refuse("\"auto\" or a whole number of at least 1"))
}

fn path(field: &Field) -> Result<String> {
    let expected = "the path of a folder";
    let path = field.text(expected)?;
    if path.is_empty() { Err(field.refuse(expected)) } else { Ok(path.to_string()) }
}
