use super::*;

/// Ids that are there, by the name of the parameter.
fn sample(name: &str) -> &'static str {
    match name {
        "user" | "member" => "1",
        "channel" => "1010",
        "message" => "4000",
        "guild" => "1000",
        "role" => "1001",
        "emoji" => "1020",
        "thread" => "1030",
        other => panic!("no sample for {other}"),
    }
}

fn filled(path: &str, with: impl Fn(&str) -> String) -> String {
    path.split('/')
        .map(|part| part.strip_prefix('{').and_then(|part| part.strip_suffix('}')).map_or(part.to_owned(), &with))
        .collect::<Vec<_>>()
        .join("/")
}

fn fits(document: &Json, schema: &Json, value: &Json) -> bool {
    if let Some(named) = schema["$ref"].as_str() {
        let schema = document.pointer(named.strip_prefix('#').unwrap());
        return fits(document, schema.unwrap_or_else(|| panic!("{named} is not in the document")), value);
    }
    if let Some(types) = schema["type"].as_array() {
        return types.iter().any(|one| fits(document, &json!({ "type": one }), value));
    }
    let fits = |schema, value| fits(document, schema, value);
    match schema["type"].as_str() {
        Some("array") => value.as_array().is_some_and(|items| items.iter().all(|item| fits(&schema["items"], item))),
        Some("integer") => value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("string") => value.as_str().is_some_and(|text| schema["pattern"] != "^[0-9]+$" || text.parse::<u64>().is_ok()),
        Some("object") => {
            let Some(object) = value.as_object() else { return false };
            let required = schema["required"].as_array().into_iter().flatten().all(|key| object.contains_key(key.as_str().unwrap()));
            let each = schema["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .all(|(key, schema)| object.get(key).is_none_or(|value| fits(schema, value)));
            required && each
        }
        other => panic!("an unknown type {other:?}"),
    }
}

#[tokio::test]
async fn every_route_answers_as_the_openapi_document_says() {
    let document: Json = get(&api(true, Format::Json), "/v1/events/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations += 1;
            let api = api(true, Format::Json);
            let required = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "query" && parameter["required"] == true);
            let query: Vec<String> = required.map(|parameter| format!("{}=1", parameter["name"].as_str().unwrap())).collect();
            let mut uri = format!("{}?{}", filled(path, |name| sample(name).to_owned()), query.join("&"));
            if path.contains("/messages/") {
                uri = uri.replace("1010", "2010");
            }
            let body = if method == "post" { "{}" } else { "[]" };
            let got = with_body(&api, &method.to_uppercase(), &uri, body).await;
            assert_eq!(got.status, StatusCode::OK, "{method} {uri}: {}", got.text());
            let content = operation["responses"]["200"]["content"].as_object().unwrap();
            let kind = got.kind.split(';').next().unwrap();
            let schema = &content.get(kind).unwrap_or_else(|| panic!("{uri}: {kind} is not documented"))["schema"];
            if kind == "application/json" {
                assert!(fits(&document, schema, &got.json()), "{uri}: {}", got.text());
                assert!(fits(&document, schema, &get_etf(&api, &uri).await.etf()), "{uri} in ETF");
            }
            // Where an unknown object is documented as 404 it is, and elsewhere it is not.
            if method == "get" && path != "/healthz" && path.contains('{') {
                let unknown = with_body(&api, "GET", &filled(path, |_| "77".to_owned()), "").await.status;
                let documented = operation["responses"].get("404").is_some();
                assert_eq!(unknown == StatusCode::NOT_FOUND, documented, "{path}");
            }
            let takes_body = method == "post" || path.ends_with("/delete");
            assert_eq!(operation["responses"].get("413").is_some(), takes_body, "{method} {path}");
            if takes_body {
                let large = with_body(&api, &method.to_uppercase(), &uri, &" ".repeat((16 << 20) + 1)).await;
                assert!(
                    large.status == StatusCode::PAYLOAD_TOO_LARGE && large.text().contains("limit"),
                    "{} {}",
                    large.status,
                    large.text()
                );
            }
            if path.contains('{') {
                let malformed = with_body(&api, &method.to_uppercase(), &filled(path, |_| "x".to_owned()), body).await;
                assert_eq!(malformed.status, StatusCode::BAD_REQUEST, "{method} {path}");
            }
        }
    }
    assert_eq!(operations, 29, "routes have come or gone: document them");
}
