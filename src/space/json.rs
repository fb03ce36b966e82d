//! Spaces as JSON: the name of a preset, or an object with the fields that differ from the preset of its kind.

use std::collections::BTreeMap;
use std::mem::discriminant;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::cell::{Candidates, CellKind, Keep, Layers, Output};
use super::check::LARGEST_STEM;
use super::network::{Domain, Stem};
use super::{MOST_NODES, Operation, Space, Stages, presets};
use crate::error::{Error, ErrorKind, Result, cut, unknown};
use crate::json::Field;

/// The fields of a space, in the order in which they are written. Those of `LATER` are written if they differ from the
/// preset's.
const FIELDS: &[&str] = &[
    "name",
    "kind",
    "operations",
    "nodes",
    "concat",
    "reductions",
    "stem_multiplier",
    "output",
    "keep",
    "none_selectable",
    "dimensions",
    "causal",
    "own_operations",
    "stages",
    "pooling_norm",
    "affine",
    "bias",
    "stem",
];

const LATER: [&str; 11] = [
    "output",
    "keep",
    "none_selectable",
    "dimensions",
    "causal",
    "own_operations",
    STAGES,
    "pooling_norm",
    "affine",
    "bias",
    "stem",
];

/// The field that makes a network one of stages.
const STAGES: &str = "stages";

impl Space {
    /// A space from a JSON string (a preset's name) or object, whose missing fields are the preset's of its kind.
    pub fn from_json(text: &str) -> Result<Space> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Error::space(format!("the space is not JSON: {error}")).with_source(error))?;
        Space::from_value(&value)
    }

    /// As `from_json`, from JSON already parsed.
    pub(crate) fn from_value(value: &Value) -> Result<Space> {
        let given = match value {
            Value::String(name) => return Space::preset(name),
            Value::Object(given) => given,
            other => {
                let given = cut(&other.to_string());
                let names = presets::names().join(", ");
                return Err(Error::space(format!("the space is {given}; it must be a name ({names}) or an object")));
            }
        };
        if let Some(key) = given.keys().find(|key| !FIELDS.contains(&key.as_str())) {
            return Err(Error::space(unknown("field of a space", key, FIELDS)));
        }
        // null means "not given".
        let field = |name: &'static str| {
            let value = given.get(name).filter(|value| !value.is_null())?;
            Some(Field { kind: ErrorKind::Space, name, value })
        };
        let own_operations = field("own_operations").map(|field| read_own(&field)).transpose()?.unwrap_or_default();
        let name = field("name").map(|field| field.text("a string")).transpose()?;
        let kind = field("kind").map(|field| read_kind(&field)).transpose()?;
        let of = field("operations").map(|field| Operation::kind_of(&names_within(field.value)));
        let kind = kind.or(of.map(|(kind, _)| kind));
        let dimensions = field("dimensions").map(|field| field.whole_within(1, 2)).transpose()?;
        let stages = field(STAGES).map(|field| Stages::read(&field)).transpose()?;
        let mut space = base(name, kind, dimensions, of.and_then(|(_, dimensions)| dimensions), stages.as_ref());
        if let Some(name) = name {
            space.name = name.to_string();
        }
        if let Some(field) = field("nodes") {
            let nodes = field.whole_within(1, MOST_NODES)?;
            space = space.with(Some(nodes), None);
        }
        if let Some(field) = field("operations") {
            read_operations(&field, &mut space)?;
        }
        read_cells(&mut space, &field)?;
        read_network(&mut space, &field, stages)?;
        if let Some(dimensions) = dimensions.filter(|given| space.dimensions() != Some(*given)) {
            return Err(Error::space(format!(
                "`dimensions` is {dimensions}; a recurrent space has none, leave it out"
            )));
        }
        let used = space.all_operations();
        space.own_operations = own_operations;
        space.own_operations.retain(|name, _| used.iter().any(|operation| operation.name() == name));
        space.validate()?;
        Ok(space)
    }

    /// All fields. Those of `LATER` are left out if they have the values that `from_value` gives to missing ones.
    pub(crate) fn to_object(&self) -> Map<String, Value> {
        let dimensions = self.all_operations().into_iter().find_map(Operation::dimensions);
        let stages = self.network.stages().map(|_| &self.network.stages);
        let known = base(Some(self.name.as_str()), Some(self.kind()), None, dimensions, stages).all_fields();
        let by_default = |name: &String, value: &Value| match name.as_str() {
            // It decides what the other fields are by default.
            STAGES => value.is_null(),
            name => LATER.contains(&name) && known.get(name) == Some(value),
        };
        self.all_fields().into_iter().filter(|(name, value)| !by_default(name, value)).collect()
    }

    /// All fields.
    pub(crate) fn all_fields(&self) -> Map<String, Value> {
        let operations = match self.uniform_operations() {
            Some(operations) => json!(operations),
            None => self.cells.iter().map(|cell| (cell.name.to_string(), json!(cell.operations))).collect(),
        };
        let cell = self.first();
        let output = match cell.output {
            Output::Concat(_) => "concat",
            Output::Last => "last",
            Output::Mean(_) => "mean",
        };
        let keep = match cell.keep {
            Keep::Strongest(k) => json!(k),
            Keep::EveryEdge => json!("every_edge"),
            Keep::Threshold(least) => json!({"threshold": least}),
        };
        let values = [
            json!(self.name),
            json!(self.kind()),
            operations,
            json!(cell.nodes),
            json!(cell.output_nodes()),
            json!(self.network.reductions()),
            json!(self.network.stem_multiplier()),
            json!(output),
            keep,
            json!(cell.none_selectable),
            json!(self.dimensions()),
            json!(self.domain().is_some_and(Domain::is_causal)),
            json!(self.own_operations),
            self.network.stages.to_value(),
            json!(cell.layers.pooling_norm),
            json!(cell.layers.affine),
            json!(cell.layers.bias),
            json!(self.network.stem.name()),
        ];
        FIELDS.iter().map(|name| name.to_string()).zip(values).collect()
    }
}

impl Serialize for Space {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_object().serialize(serializer)
    }
}

impl Serialize for Candidates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Candidates::Everywhere(list) => list.serialize(serializer),
            Candidates::PerEdge(lists) => lists.serialize(serializer),
        }
    }
}

/// The space whose values missing fields have: the preset of this name, if it is of this kind, has the given dimensions
/// and stages of the same form, else the published one; its dimensions are then those of the operations unless they are
/// given.
fn base(
    name: Option<&str>,
    kind: Option<CellKind>,
    given: Option<usize>,
    of_operations: Option<usize>,
    stages: Option<&Stages>,
) -> Space {
    let named = name.and_then(|name| Space::preset(name).ok());
    let fits = |space: &Space| {
        let same = given.is_none_or(|given| space.dimensions().is_none_or(|own| own == given));
        let alike = stages.is_none_or(|given| discriminant(given) == discriminant(&space.network.stages));
        kind.is_none_or(|kind| space.kind() == kind) && same && alike
    };
    let kind = kind.unwrap_or(CellKind::Convolutional);
    named.filter(fits).unwrap_or_else(|| presets::published(kind, given.or(of_operations), stages))
}

/// The field of a name, if it is given.
type Given<'a> = dyn Fn(&'static str) -> Option<Field<'a>> + 'a;

/// Sets what all cells have in common.
fn read_cells(space: &mut Space, field: &Given) -> Result<()> {
    let output = read_output(field("output"), field("concat"), space)?;
    let keep = field("keep").map(|field| read_keep(&field)).transpose()?;
    let none_selectable = field("none_selectable").map(|field| field.flag()).transpose()?;
    let flag = |name: &'static str| field(name).map(|field| field.flag()).transpose();
    let [pooling_norm, affine, bias] = [flag("pooling_norm")?, flag("affine")?, flag("bias")?];
    for cell in &mut space.cells {
        cell.output = output.clone();
        cell.keep = keep.unwrap_or(cell.keep);
        cell.none_selectable = none_selectable.unwrap_or(cell.none_selectable);
        let Layers { pooling_norm: norm, affine: scale, bias: shift } = cell.layers;
        cell.layers = Layers {
            pooling_norm: pooling_norm.unwrap_or(norm),
            affine: affine.unwrap_or(scale),
            bias: bias.unwrap_or(shift),
        };
    }
    Ok(())
}

/// Sets how the cells form a network.
fn read_network(space: &mut Space, field: &Given, stages: Option<Stages>) -> Result<()> {
    let given = field("reductions").map(|field| field.wholes()).transpose()?;
    let sort = match &mut space.network.stages {
        Stages::Chain { reductions } => {
            *reductions = given.clone();
            None
        }
        Stages::Residual { .. } | Stages::Direct { .. } => Some("a space with `stages`"),
        Stages::Recurrence => Some("a recurrent space"),
    };
    if let (Some(sort), true) = (sort, given.is_some_and(|cells| !cells.is_empty())) {
        return Err(Error::space(format!("{sort} has no reduction cells; leave `reductions` out")));
    }
    if let Some(stages) = stages {
        if space.network.stages().is_none() {
            return Err(Error::space("`stages` is for images; a recurrent space or one of sequences has none"));
        }
        space.network.stages = stages;
    }
    if let Some(field) = field("stem") {
        read_stem(&field, space)?;
    }
    if let Some(field) = field("stem_multiplier") {
        let given = field.whole_within(1, LARGEST_STEM)?;
        if let Stem::Convolution { multiplier, .. } = &mut space.network.stem {
            *multiplier = given;
        }
    }
    if let Some(given) = field("causal").map(|field| field.flag()).transpose()? {
        match &mut space.network.stem {
            Stem::Convolution { domain: Domain::Sequences { causal }, .. } => *causal = given,
            _ if given => {
                return Err(Error::space(
                    "`causal` is true; only a space for sequences can be causal: give 1-D `operations` such as \
                     \"sep_conv_3\", `dimensions` as 1, or `name` as \"darts-1d\"",
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Sets the first layers.
fn read_stem(field: &Field, space: &mut Space) -> Result<()> {
    let expected = "\"convolution\", or with `stages` \"strided\"";
    let (staged, images) = (space.network.stages().is_some(), space.domain());
    space.network.stem = match (field.text(expected)?, images, &space.network.stem) {
        ("convolution", Some(_), own @ Stem::Convolution { .. }) => own.clone(),
        ("convolution", Some(domain), _) => Stem::Convolution { multiplier: 1, domain },
        ("strided", Some(_), _) if staged => Stem::Strided,
        _ => return Err(field.refuse(expected)),
    };
    Ok(())
}

/// The user-defined operations, whose names are known from now on.
fn read_own(field: &Field) -> Result<BTreeMap<String, String>> {
    let expected = "an object of names and of \"module:qualname\" of what makes their modules";
    let Value::Object(given) = field.value else { return Err(field.refuse(expected)) };
    let own = given.iter().map(|(name, fact)| {
        let fact = fact.as_str().ok_or_else(|| field.refuse(expected))?;
        Ok((Operation::own(name)?.name().to_owned(), fact.to_owned()))
    });
    own.collect()
}

fn read_kind(field: &Field) -> Result<CellKind> {
    let kind = CellKind::ALL.into_iter().find(|kind| field.value.as_str() == Some(kind.name()));
    kind.ok_or_else(|| field.refuse("\"convolutional\" or \"recurrent\""))
}

/// The texts in lists and objects.
fn names_within(value: &Value) -> Vec<&str> {
    match value {
        Value::String(name) => vec![name],
        Value::Array(items) => items.iter().flat_map(names_within).collect(),
        Value::Object(fields) => fields.values().flat_map(names_within).collect(),
        _ => Vec::new(),
    }
}

/// Sets the operations: one list for all edges, or for each table a list or one list per edge.
fn read_operations(field: &Field, space: &mut Space) -> Result<()> {
    let kind = (space.kind(), space.dimensions());
    let Value::Object(tables) = field.value else {
        let operations = Operation::list(field, Some(kind))?;
        space.cells.iter_mut().for_each(|cell| cell.operations = Candidates::Everywhere(operations.clone()));
        return Ok(());
    };
    let known = space.tables();
    if let Some(table) = tables.keys().find(|table| !known.contains(&table.as_str())) {
        return Err(Error::space(unknown("table of `operations`", table, &known)));
    }
    for cell in &mut space.cells {
        let list = |place: &str, value| {
            let field = Field { kind: field.kind, name: place, value };
            // The error for an unknown operation does not name the field.
            Operation::list(&field, Some(kind)).map_err(|error| match error.detail.starts_with('`') {
                true => error,
                false => Error::space(format!("`{place}`: {}", error.detail)),
            })
        };
        let place = format!("operations.{}", cell.name);
        cell.operations = match tables.get(cell.name) {
            None => {
                let table = cell.name;
                return Err(Error::space(format!("`operations` lacks table `{table}`; give the lists of every table")));
            }
            Some(Value::Array(lists)) if lists.iter().any(Value::is_array) => {
                let edges = cell.edges();
                let each = lists.iter().enumerate().map(|(row, value)| match edges.get(row) {
                    Some(edge) => list(&format!("{place}, edge {}->{}", edge.from, edge.to), value),
                    None => list(&format!("{place}[{row}]"), value),
                });
                let lists = each.collect::<Result<Vec<_>>>()?;
                // Another number of lists than edges stays, to be refused.
                if lists.len() == edges.len() { Candidates::of_edges(lists) } else { Candidates::PerEdge(lists) }
            }
            Some(value) => Candidates::Everywhere(list(&place, value)?),
        };
    }
    Ok(())
}

/// The output of a cell; `concat` are its nodes.
fn read_output(output: Option<Field>, concat: Option<Field>, space: &Space) -> Result<Output> {
    let concat = concat.map(|field| field.wholes()).transpose()?;
    let nodes = || concat.clone().unwrap_or_else(|| space.intermediate().collect());
    let name = match (&output, &space.first().output) {
        (Some(field), _) => field.text("\"concat\", \"mean\" or \"last\"")?,
        (None, Output::Concat(_)) => "concat",
        (None, Output::Mean(_)) => "mean",
        (None, Output::Last) => "last",
    };
    match (name, output) {
        ("concat", _) => Ok(Output::Concat(nodes())),
        ("mean", _) => Ok(Output::Mean(nodes())),
        ("last", _) => match concat {
            Some(nodes) if Some(&nodes[..]) != space.intermediate().last().as_ref().map(std::slice::from_ref) => {
                Err(Error::space(format!(
                    "`concat` is {nodes:?} and `output` \"last\"; leave `concat` out, or give `output` as \"concat\""
                )))
            }
            _ => Ok(Output::Last),
        },
        (_, Some(field)) => Err(field.refuse("\"concat\", \"mean\" or \"last\"")),
        (_, None) => Ok(Output::Last),
    }
}

fn read_keep(field: &Field) -> Result<Keep> {
    match field.value {
        Value::String(name) if name == "every_edge" => Ok(Keep::EveryEdge),
        Value::Object(given) if given.len() == 1 && given.contains_key("threshold") => {
            let field = Field { name: "keep.threshold", value: &given["threshold"], ..*field };
            field.number("a number from 0 to 1", |least| (0.0..=1.0).contains(&least)).map(Keep::Threshold)
        }
        Value::Number(_) => field.whole_within(1, MOST_NODES).map(Keep::Strongest),
        _ => Err(field.refuse("a number of edges, \"every_edge\" or {\"threshold\": number}")),
    }
}
