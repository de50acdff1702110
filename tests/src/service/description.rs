//! A vendor's OpenAPI description as a judge of requests.
//!
//! It judges path, query parameters and JSON body of a request; answers are the stand-in's own matter.
//! Where a description is absent, a line says so and nothing is judged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::recording::Recorded;

/// Where `./setup.sh test` says that GitHub's description lies.
const GITHUB: &str = "ACF_GITHUB_OPENAPI";
/// Where Jira's lies.
const JIRA: &str = "ACF_JIRA_OPENAPI";
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// Where a component of a description is found, and where it lies in a schema made of it.
const COMPONENTS: &str = "#/components/schemas/";
const DEFINITIONS: &str = "#/definitions/";

/// A vendor's description of its REST API (OpenAPI 3.0).
#[derive(Debug)]
pub struct Description {
    document: Arc<Value>,
    prefix: String,
}

/// The documents that were read: they are large, and the same for all tests of a process.
static READ: Mutex<BTreeMap<PathBuf, Arc<Value>>> = Mutex::new(BTreeMap::new());
/// The variables that were found to be unset, each told once.
static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

impl Description {
    /// Returns GitHub's description, below `prefix` (empty, or `/api/v3`), if it is there.
    #[must_use]
    pub fn github(prefix: &str) -> Option<Arc<Self>> {
        Self::find("GitHub", GITHUB, prefix, |_| {})
    }

    /// Returns Jira Cloud's description, below `prefix` (empty, or `/ex/jira/ID`), if it is there.
    #[must_use]
    pub fn jira(prefix: &str) -> Option<Arc<Self>> {
        Self::find("Jira", JIRA, prefix, |document| {
            // "If accountId is set to null, the issue is set to unassigned", says the operation's text; its
            // schema forgets that.
            if let Some(account) = document.pointer_mut("/components/schemas/User/properties/accountId") {
                account["nullable"] = json!(true);
            }
        })
    }

    #[expect(clippy::disallowed_methods, reason = "what a test is held against comes from outside of it")]
    fn find(vendor: &str, variable: &str, prefix: &str, amend: fn(&mut Value)) -> Option<Arc<Self>> {
        let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) else {
            skip(vendor, variable);
            return None;
        };
        let path = PathBuf::from(path);
        let document = Arc::clone(lock(&READ).entry(path).or_insert_with_key(|path| {
            let text =
                fs::read(path).unwrap_or_else(|error| panic!("{variable}: {}: {error}", path.display()));
            let mut document = serde_json::from_slice(&text)
                .unwrap_or_else(|error| panic!("{variable}: {} is no JSON: {error}", path.display()));
            amend(&mut document);
            Arc::new(document)
        }));
        Some(Arc::new(Self { document, prefix: prefix.to_owned() }))
    }

    /// Makes a description of that document.
    #[must_use]
    pub fn of(document: Value) -> Self {
        Self { document: Arc::new(document), prefix: String::new() }
    }

    /// Tells whether the description has that operation: a method in lower case, a path as it is written there.
    #[must_use]
    pub fn describes(&self, method: &str, path: &str) -> bool {
        self.document["paths"][path].get(method).is_some()
    }

    /// Returns what is wrong with a request, each in a line that names it.
    #[must_use]
    pub fn violations(&self, request: &Recorded) -> Vec<String> {
        let found = match self.operation(request) {
            Err(says) => vec![says],
            Ok((operation, parameters, in_path)) => {
                let mut found = self.parameter_violations(&parameters, &in_path, request);
                found.extend(self.body_violations(operation, request));
                found
            }
        };
        found.into_iter().map(|says| format!("{}: {says}", request.line())).collect()
    }

    /// Finds what the request calls: the operation, its parameters, and the values of those in the path.
    fn operation(&self, request: &Recorded) -> Result<Operation<'_>, String> {
        let path = request.path.strip_prefix(&self.prefix).unwrap_or(&request.path);
        let segments: Vec<String> = path
            .split('/')
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let method = request.method.as_str().to_lowercase();
        let paths = self.document["paths"].as_object().ok_or("the description has no paths")?;
        let fitting = paths.iter().filter_map(|(template, item)| Some((item, fit(template, &segments)?)));
        // Of `/search/{x}` and `/search/jql`, the one with fewer parameters is meant.
        let (item, in_path) = fitting
            .filter(|(item, _)| item.get(&method).is_some())
            .min_by_key(|(_, in_path)| in_path.len())
            .ok_or_else(|| {
                debug_assert!(METHODS.contains(&method.as_str()), "{method}");
                "there is no such operation".to_owned()
            })?;
        let operation = &item[&method];
        let of = |holder: &'_ Value| holder["parameters"].as_array().cloned().unwrap_or_default();
        let parameters: Vec<Value> = [of(item), of(operation)]
            .concat()
            .iter()
            .map(|parameter| self.resolve(parameter).clone())
            .collect();
        Ok((operation, parameters, in_path))
    }

    fn parameter_violations(
        &self,
        parameters: &[Value],
        in_path: &BTreeMap<String, String>,
        request: &Recorded,
    ) -> Vec<String> {
        let mut found = Vec::new();
        let mut known = Vec::new();
        for parameter in parameters {
            let name = parameter["name"].as_str().unwrap_or_default();
            let place = parameter["in"].as_str().unwrap_or_default();
            let given: Vec<&str> = match place {
                "path" => in_path.get(name).map(String::as_str).into_iter().collect(),
                "query" => {
                    known.push(name);
                    request
                        .query
                        .iter()
                        .filter(|(key, _)| key == name)
                        .map(|(_, value)| value.as_str())
                        .collect()
                }
                _ => continue,
            };
            if given.is_empty() && parameter["required"] == true {
                found.push(format!("parameter `{name}` is missing"));
            }
            let schema = self.closed(&parameter["schema"]);
            if !given.is_empty() {
                let value = typed(&given, &schema);
                let wrong = schema_violations(&schema, &value);
                found.extend(wrong.into_iter().map(|says| format!("parameter `{name}`: {says}")));
            }
        }
        let unknown = request.query.iter().filter(|(key, _)| !known.contains(&key.as_str()));
        found.extend(unknown.map(|(key, _)| format!("there is no query parameter `{key}`")));
        found
    }

    fn body_violations(&self, operation: &Value, request: &Recorded) -> Vec<String> {
        let described = self.resolve(&operation["requestBody"]);
        let schema = described.pointer("/content/application~1json/schema");
        match (schema, &request.body) {
            (None, None) => Vec::new(),
            (None, Some(_)) => vec!["it takes no JSON body".to_owned()],
            (Some(_), None) if described["required"] == true => {
                vec!["the body is missing, or no JSON".to_owned()]
            }
            (Some(_), None) => Vec::new(),
            (Some(schema), Some(body)) => {
                let mut found = schema_violations(&self.closed(schema), body);
                found.extend(self.unknown_fields(self.resolve(schema), body));
                found
            }
        }
    }

    /// Finds fields that the schema of an object does not name: vendors ignore them in silence.
    fn unknown_fields(&self, schema: &Value, body: &Value) -> Vec<String> {
        let composed = ["oneOf", "anyOf", "allOf", "additionalProperties"];
        let open = composed.iter().any(|keyword| schema.get(keyword).is_some_and(|value| *value != false));
        let (Some(named), Some(given), false) = (schema["properties"].as_object(), body.as_object(), open)
        else {
            return Vec::new();
        };
        given
            .keys()
            .filter(|key| !named.contains_key(*key))
            .map(|key| format!("there is no field `{key}`"))
            .collect()
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let reference = value.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
        reference.and_then(|pointer| self.document.pointer(pointer)).unwrap_or(value)
    }

    /// Returns a schema with all that it refers to, in the words of JSON Schema.
    fn closed(&self, schema: &Value) -> Value {
        let mut closed = in_json_schema(schema);
        let mut definitions = Map::new();
        let mut open = references(&closed);
        while let Some(name) = open.pop() {
            if definitions.contains_key(&name) {
                continue;
            }
            let component = self.document.pointer(&format!("/components/schemas/{name}"));
            let component = in_json_schema(component.unwrap_or(&Value::Null));
            open.extend(references(&component));
            definitions.insert(name, component);
        }
        if let (Some(object), false) = (closed.as_object_mut(), definitions.is_empty()) {
            object.insert("definitions".to_owned(), Value::Object(definitions));
        }
        closed
    }
}

/// An operation, its parameters, and the values of those in the path.
type Operation<'a> = (&'a Value, Vec<Value>, BTreeMap<String, String>);

fn skip(vendor: &str, variable: &str) {
    if lock(&TOLD).insert(variable.to_owned()) {
        eprintln!("SKIPPED: {variable} is not set: no request is held against {vendor}'s description");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the values of a path's parameters, if it fits the template.
fn fit(template: &str, segments: &[String]) -> Option<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    let mut given = segments.iter();
    for wanted in template.split('/') {
        let given = given.next()?;
        match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(_) if given.is_empty() => return None,
            Some(name) => drop(values.insert(name.to_owned(), given.clone())),
            None if wanted == given => {}
            None => return None,
        }
    }
    given.next().is_none().then_some(values)
}

/// Reads a parameter's text as what its schema asks for.
fn typed(given: &[&str], schema: &Value) -> Value {
    let one = |text: &str, wanted: &Value| match wanted["type"].as_str() {
        Some("integer" | "number" | "boolean") => serde_json::from_str(text).unwrap_or(json!(text)),
        _ => json!(text),
    };
    match schema["type"].as_str() {
        Some("array") => {
            let texts = given.iter().flat_map(|text| text.split(','));
            texts.map(|text| one(text, &schema["items"])).collect()
        }
        _ => one(given[0], schema),
    }
}

/// Rewrites a schema of OpenAPI 3.0: `nullable` becomes a type, references point into `definitions`.
fn in_json_schema(schema: &Value) -> Value {
    match schema {
        Value::Array(items) => items.iter().map(in_json_schema).collect(),
        Value::Object(object) => {
            let nullable = object.get("nullable") == Some(&json!(true));
            let mut rewritten: Map<String, Value> = object
                .iter()
                .filter(|(key, _)| !matches!(key.as_str(), "example" | "examples"))
                .map(|(key, value)| (key.clone(), in_json_schema(value)))
                .collect();
            if let Some(text) = object.get("$ref").and_then(Value::as_str) {
                rewritten.insert("$ref".to_owned(), json!(text.replace(COMPONENTS, DEFINITIONS)));
            }
            if nullable {
                return json!({ "anyOf": [{ "type": "null" }, Value::Object(rewritten)] });
            }
            Value::Object(rewritten)
        }
        other => other.clone(),
    }
}

/// Returns the names of the components that a rewritten schema refers to.
fn references(schema: &Value) -> Vec<String> {
    match schema {
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Object(object) => {
            let own =
                object.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix(DEFINITIONS));
            own.map(str::to_owned).into_iter().chain(object.values().flat_map(references)).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns what a JSON Schema (draft 4) has against a value, each with its place.
///
/// # Panics
/// Where the schema is none.
#[must_use]
pub fn schema_violations(schema: &Value, value: &Value) -> Vec<String> {
    let validator = jsonschema::draft4::options().build(schema).expect("a vendor's schema is one");
    let found = validator.iter_errors(value);
    found.map(|error| format!("body{}: {error}", error.instance_path())).collect()
}
