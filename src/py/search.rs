//! `search`: runs a search and returns its outcome as a dictionary.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::bridges::{PyObserver, criterion_of, graph_capture, source};
use super::entry;
use super::errors::to_python;
use super::json::{Lists, python};
use super::precision::numbers;
use super::supernet::named_state;
use super::tensor::{arrays, device, device_name, to_dict};
use super::values::{PyConfig, PyGenotype};
use crate::data::{Expected, Source};
use crate::nn::{NetworkOptions, Relaxed};
use crate::plan::Plan;
use crate::search::{Fingerprint, GraphCapture, Outcome, Sources, run, start};

#[pyfunction]
#[pyo3(signature = (config, train, valid, evaluation, observer, criterion, fingerprint))]
#[allow(clippy::too_many_arguments)] // one per argument of the Python function
pub fn search<'py>(
    py: Python<'py>,
    config: &PyConfig,
    train: &Bound<'py, PyAny>,
    valid: &Bound<'py, PyAny>,
    evaluation: &Bound<'py, PyAny>,
    observer: Py<PyAny>,
    criterion: Option<Py<PyAny>>,
    fingerprint: BTreeMap<String, String>,
) -> PyResult<Bound<'py, PyDict>> {
    let (config, fingerprint) = (config.value.clone(), Fingerprint(fingerprint));
    let device = device(&config.execution.device).map_err(to_python)?;
    let numbers = numbers(config.execution.precision, device).map_err(to_python)?;
    let (kind, precision) = (numbers.kind, numbers.precision());
    let plan = Plan::of_config(&config).map_err(to_python)?;
    let expected = Expected::of_plan(&plan, config.data.bptt, kind, device);
    let mut train = source(train, &config, &expected, "training")?;
    let mut valid = source(valid, &config, &expected, "validation")?;
    let mut evaluation = source(evaluation, &config, &expected, "evaluation")?;
    let mut observer = PyObserver::new(py, observer, kind)?;
    let graphs = graph_capture(py, &config, device, criterion.is_some())?;
    let options = NetworkOptions::of_config(&config, numbers, device, criterion_of(criterion));
    let (outcome, state, alphas) = entry::engine(py, || {
        let (network, relaxations, initial) = start(plan, &config, options)?;
        let micro_batch = config.execution.micro_batch;
        let relaxed = Relaxed { network: &*network, relaxations: &relaxations, micro_batch };
        let sources =
            Sources { train: &mut *train as &mut dyn Source, valid: &mut *valid, evaluation: &mut *evaluation };
        let graphs = graphs.as_ref().map(|graphs| graphs as &dyn GraphCapture);
        let outcome = run(relaxed, (&config, &fingerprint), initial, sources, &mut observer, graphs);
        // Stop the loader threads before the outcome is examined, also after an error.
        drop((train, valid, evaluation));
        let outcome = outcome?;
        let state = named_state(&*network, &outcome.state.w)?;
        let alphas = outcome.trajectory.tables(network.alphas())?;
        Ok((outcome, state, alphas))
    })?;
    let Outcome { status, error, trajectory, history, genotype, config, fingerprint, .. } = outcome;
    let result = PyDict::new(py);
    result.set_item("status", serde_json::json!(status).as_str())?;
    result.set_item("error", error.map(|e| to_python(e).into_value(py)))?;
    result.set_item("alphas", arrays(py, &alphas, kind)?)?;
    result.set_item("steps", trajectory.steps)?;
    result.set_item("history", python(py, &serde_json::json!(history), Lists::Lists)?)?;
    result.set_item("genotype", PyGenotype(genotype))?;
    result.set_item("state_dict", to_dict(py, state)?)?;
    result.set_item("config", PyConfig::from(config))?;
    result.set_item("fingerprint", fingerprint.0)?;
    result.set_item("threads", tch::get_num_threads())?;
    result.set_item("device", device_name(device))?;
    result.set_item("precision", serde_json::json!(precision).as_str())?;
    Ok(result)
}
