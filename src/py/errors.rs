//! The Python exception for each kind of error, and the conversions in both directions.

use pyo3::exceptions::{PyFileNotFoundError, PyKeyboardInterrupt, PyOSError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::error::{Error, ErrorKind, unknown};
use crate::params::ask_for_exceptions;

/// Name, builtin base class and docstring of the exception; None for kinds with a builtin exception.
fn row(kind: ErrorKind) -> Option<(&'static str, &'static str, &'static str)> {
    Some(match kind {
        ErrorKind::Config => {
            ("ConfigError", "ValueError", "A bad option: unknown, of the wrong type, or out of range.")
        }
        ErrorKind::Space => ("SpaceError", "ValueError", "A space or network that cannot be built."),
        ErrorKind::Genotype => {
            ("GenotypeError", "ValueError", "A malformed genotype, or one that does not fit its space.")
        }
        ErrorKind::Data => ("DataError", "ValueError", "Data of the wrong shape, type or range."),
        ErrorKind::Numerical => ("NumericalError", "ArithmeticError", "A loss or gradient became NaN or infinite."),
        ErrorKind::Checkpoint => ("CheckpointError", "ValueError", "A checkpoint or saved result that cannot be used."),
        ErrorKind::Device => ("DeviceError", "RuntimeError", "A device or precision that this machine does not have."),
        ErrorKind::OutOfMemory => ("OutOfMemoryError", "MemoryError", "Memory ran out; the message holds an estimate."),
        ErrorKind::Ranks => {
            ("RankError", "RuntimeError", "Another rank of a search failed or died; its own exception says more.")
        }
        ErrorKind::Engine => ("EngineError", "RuntimeError", "libtorch failed: a bug, or a broken installation."),
        // These become builtin exceptions, or are raised unchanged.
        ErrorKind::Interrupted | ErrorKind::NotFound | ErrorKind::Io | ErrorKind::Foreign => return None,
    })
}

static TYPES: PyOnceLock<Vec<(ErrorKind, Py<PyType>)>> = PyOnceLock::new();

/// Creates the exception types and adds them to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let builtins = py.import("builtins")?;
    let exception = builtins.getattr("Exception")?;
    let base = make("Error", PyTuple::new(py, [exception])?, "The base of every exception of pydarts.")?;
    module.add("Error", &base)?;
    let mut types = Vec::new();
    for &kind in ErrorKind::ALL {
        let Some((name, builtin, doc)) = row(kind) else { continue };
        let bases = PyTuple::new(py, [base.as_any(), &builtins.getattr(builtin)?])?;
        let made = make(name, bases, doc)?;
        module.add(name, &made)?;
        types.push((kind, made.unbind()));
    }
    ask_for_exceptions(raised);
    // A second import in the same process keeps the types of the first.
    let _ = TYPES.set(py, types);
    Ok(())
}

fn make<'py>(name: &str, bases: Bound<'py, PyTuple>, doc: &str) -> PyResult<Bound<'py, PyType>> {
    let py = bases.py();
    let dict = PyDict::new(py);
    dict.set_item("__doc__", doc)?;
    dict.set_item("__module__", "pydarts")?;
    Ok(py.import("builtins")?.getattr("type")?.call1((name, bases, dict))?.cast_into::<PyType>()?)
}

/// The exception for an error. An exception that came from Python is returned unchanged, with its traceback.
pub fn to_python(error: Error) -> PyErr {
    Python::attach(|py| {
        let Error { kind, detail, source } = error;
        if let Some(original) = source.as_ref().and_then(|s| s.downcast_ref::<PyErr>()) {
            return original.clone_ref(py);
        }
        match kind {
            ErrorKind::NotFound => return PyFileNotFoundError::new_err(detail),
            ErrorKind::Io => return PyOSError::new_err(detail),
            ErrorKind::Interrupted => return PyKeyboardInterrupt::new_err(detail),
            _ => {}
        }
        let found = TYPES.get(py).and_then(|types| types.iter().find(|(k, _)| *k == kind));
        match found {
            Some((_, made)) => PyErr::from_type(made.bind(py).clone(), (detail,)),
            None => pyo3::exceptions::PyRuntimeError::new_err(detail),
        }
    })
}

/// An exception from Python code that the engine called: a loader, a callback, a loss, a signal.
pub fn from_python(error: PyErr) -> Error {
    Python::attach(|py| {
        let kind = match error.is_instance_of::<PyKeyboardInterrupt>(py) {
            true => ErrorKind::Interrupted,
            false => ErrorKind::Foreign,
        };
        let detail = error.value(py).to_string();
        Error::new(kind, detail).with_source(error)
    })
}

/// The exception of a backward pass in Python, which libtorch leaves set in this thread. Any other call of Python would
/// trip over it.
fn raised() -> Option<Error> {
    Python::attach(PyErr::take).map(from_python)
}

/// The message for an unknown name, with what may be meant, or the known names.
#[pyfunction]
pub fn unknown_name(what: &str, given: &str, known: Vec<String>) -> String {
    unknown(what, given, &known.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The known names that an unknown one may mean, the likeliest first.
#[pyfunction]
pub fn suggestions(given: &str, known: Vec<String>) -> Vec<String> {
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    crate::suggest::suggestions(given, &known).into_iter().map(String::from).collect()
}
