//! Genotypes as JSON: `{"normal": [[[operation, source], …], …], "normal_concat": [node, …], …}`, nodes as lists of
//! edges. Flat lists of edges, as in the published notation, and edges with a weight, as in AutoDL's, are read too.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::Genotype;
use super::parts::{Holds, Part, assemble, concat_key, holds};
use crate::error::{Error, ErrorKind, Result};
use crate::json::Field;
use crate::space::Operation;

/// The key of the names of user-defined operations, which a reader may not know.
const OWN: &str = "own_operations";

impl Genotype {
    /// A genotype from its JSON object.
    pub fn from_json(text: &str) -> Result<Genotype> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Error::genotype(format!("the genotype is not JSON: {error}")).with_source(error))?;
        Genotype::from_value(&value)
    }

    /// As `from_json`, from JSON already parsed.
    pub(crate) fn from_value(value: &Value) -> Result<Genotype> {
        let Value::Object(given) = value else {
            return Err(Error::genotype(
                "the genotype is not an object with the keys `normal`, `normal_concat`, `reduce`, `reduce_concat` \
                 or `recurrent`, `concat`",
            ));
        };
        if let Some(own) = given.get(OWN) {
            Field { kind: ErrorKind::Genotype, name: OWN, value: own }
                .texts("a list of names")?
                .into_iter()
                .try_for_each(|name| Operation::own(name).map(drop))?;
        }
        let cells = given.iter().filter(|(key, _)| *key != OWN);
        let parts = cells.map(|(key, value)| Ok((key.as_str(), read(key, value)?))).collect::<Result<Vec<_>>>()?;
        Ok(assemble(parts)?)
    }

    /// Its JSON object, on one line.
    pub fn to_json(&self) -> String {
        Value::Object(self.to_object()).to_string()
    }

    /// Its JSON object.
    pub(crate) fn to_object(&self) -> Map<String, Value> {
        let mut object = Map::new();
        for (name, cell) in self.cells() {
            let edges = |edges: &Vec<super::Edge>| -> Value {
                edges.iter().map(|edge| json!([edge.operation.name(), edge.source])).collect()
            };
            object.insert(name.to_string(), cell.nodes.iter().map(edges).collect());
            object.insert(concat_key(name), json!(cell.concat));
        }
        let own = self.own_operations();
        if !own.is_empty() {
            object.insert(OWN.to_string(), json!(own));
        }
        object
    }
}

impl Serialize for Genotype {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_object().serialize(serializer)
    }
}

/// The value of one key of the JSON object.
fn read(key: &str, value: &Value) -> Result<Part> {
    let expected = |expected: &str, error: serde_json::Error| {
        Error::genotype(format!("`{key}` is not {expected}: {error}")).with_source(error)
    };
    let kind = holds(key).map_err(Error::genotype)?;
    let value = &if kind == Holds::Edges { unweighted(value) } else { value.clone() };
    match kind {
        Holds::Concat => {
            let nodes = Vec::deserialize(value).map_err(|error| expected("a list of node numbers", error))?;
            Ok(Part::Concat(nodes))
        }
        Holds::Edges if is_nested(value) => {
            let nodes = Vec::deserialize(value);
            Ok(Part::Nodes(nodes.map_err(|error| expected("a list of lists of [operation, node] pairs", error))?))
        }
        Holds::Edges => {
            let edges = Vec::deserialize(value);
            Ok(Part::Flat(edges.map_err(|error| expected("a list of [operation, node] pairs", error))?))
        }
    }
}

/// Whether the first entry is a list of edges: an edge begins with a name.
fn is_nested(value: &Value) -> bool {
    let first = value.get(0).and_then(Value::as_array);
    first.is_some_and(|entry| entry.first().is_none_or(Value::is_array))
}

/// The same edges without weights: `[operation, source, weight]` as `[operation, source]`.
fn unweighted(value: &Value) -> Value {
    match value.as_array().map(Vec::as_slice) {
        Some([operation @ Value::String(_), source, Value::Number(_)]) => json!([operation, source]),
        Some(items) => items.iter().map(unweighted).collect(),
        None => value.clone(),
    }
}
