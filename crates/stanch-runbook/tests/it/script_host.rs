//! The Python host, with a real `python3`.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value, json};
use stanch_runbook::{Script, ScriptError, Scripts, script_host::PythonHost};

#[expect(clippy::disallowed_methods, reason = "Python has to be found")]
fn host() -> PythonHost {
    PythonHost::new(
        "python3",
        ["PATH", "HOME"]
            .iter()
            .filter_map(|name| Some((*name, std::env::var(name).ok()?))),
    )
}

fn script(source: &str) -> Script {
    Script {
        runtime: "python3.11".into(),
        handler: "handler".into(),
        source: source.into(),
        context: Map::from_iter([("global:REGION".into(), "eu-central-1".into())]),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

async fn run(host: &PythonHost, source: &str, payload: Value) -> Result<Value, ScriptError> {
    host.run(&script(source), &payload).await
}

#[test]
fn scripts_return_what_they_compute() {
    block_on(async {
        let host = host();
        let source = "import datetime\n\
            def handler(events, context):\n    print('to be seen by nobody')\n    \
            return {'sum': events['a'] + 1, 'at': datetime.date(2026, 1, 2), 'region': context['global:REGION'], 'text': events['text']}\n";
        let returned = run(&host, source, json!({"a": 1, "text": "ä\n\"x\"\u{2028}"}))
            .await
            .unwrap();
        assert_eq!(
            returned,
            json!({"sum": 2, "at": "2026-01-02", "region": "eu-central-1", "text": "ä\n\"x\"\u{2028}"})
        );
        assert_eq!(
            run(&host, "def handler(e, c): pass", json!({})).await,
            Ok(Value::Null)
        );
    });
}

#[test]
fn one_script_leaves_nothing_behind_for_the_next() {
    block_on(async {
        let host = host();
        let dirty = "import os, json, builtins\ndef handler(e, c):\n    os.environ['KEY'] = 'left'\n    json.left = builtins.left = 1\n    return os.getppid()";
        let clean = "import os, json\ndef handler(e, c):\n    return [os.environ.get('KEY'), hasattr(json, 'left'), 'left' in dir(__builtins__), os.getppid()]";
        let keyed = host.with_environment([("KEY".to_owned(), "secret".to_owned())]);
        let process = run(&keyed, dirty, json!({})).await.unwrap();
        // The same warm process, without what the other saw.
        assert_eq!(
            run(&host, clean, json!({})).await.unwrap(),
            json!([null, false, false, process])
        );
        let with_key = run(&keyed, clean, json!({})).await.unwrap();
        assert_eq!(with_key[0], json!("secret"));
    });
}

#[test]
fn boto3_finds_the_endpoint_and_credentials() {
    block_on(async {
        let source = "import os\n\
            def handler(e, c):\n    \
            try:\n        import boto3\n    \
            except ImportError:\n        return [os.environ['AWS_ENDPOINT_URL'], os.environ['AWS_ACCESS_KEY_ID']]\n    \
            client = boto3.client('sqs')\n    \
            return [client.meta.endpoint_url, client._request_signer._credentials.access_key]";
        let environment = [
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "none"),
            ("AWS_DEFAULT_REGION", "eu-central-1"),
        ];
        let host = host().with_environment(environment.map(|(k, v)| (k.to_owned(), v.to_owned())));
        let returned = run(&host, source, json!({})).await.unwrap();
        assert_eq!(returned, json!(["http://127.0.0.1:9", "AKIDEXAMPLE"]));
    });
}

#[test]
fn a_script_that_fails_says_how() {
    block_on(async {
        let host = host();
        for (source, part) in [
            (
                "def handler(e, c):\n    print('on the way')\n    raise ValueError('boom')",
                "ValueError: boom",
            ),
            ("def handler(e, c): return {1, 2}.x", "AttributeError"),
            ("def other(e, c): pass", "no function `handler`"),
            ("def handler(e, c):", "IndentationError"),
            (
                "import sys\ndef handler(e, c): sys.exit(3)",
                "SystemExit: 3",
            ),
            (
                "import os\ndef handler(e, c): os._exit(3)",
                "the script ended its process",
            ),
        ] {
            match run(&host, source, json!({})).await {
                Err(ScriptError::Raised { message, output }) => {
                    assert!(message.contains(part), "{message}");
                    assert_eq!(
                        output.contains("on the way"),
                        source.contains("print"),
                        "{output}"
                    );
                }
                other => panic!("{source}: {other:?}"),
            }
        }
    });
}

#[test]
fn a_dropped_script_ends_and_the_next_gets_a_new_host() {
    block_on(async {
        let folder = std::env::temp_dir().join(format!("stanch-script-{}", std::process::id()));
        let source = format!(
            "import time\ndef handler(e, c):\n    open({:?}, 'w').write('begun')\n    while True: time.sleep(0.01)",
            folder.to_str().unwrap()
        );
        let host = host();
        let hanging = {
            let host = host.clone();
            tokio::spawn(async move { run(&host, &source, json!({})).await })
        };
        while !folder.exists() {
            tokio::task::yield_now().await;
        }
        hanging.abort();
        assert!(hanging.await.unwrap_err().is_cancelled());
        std::fs::remove_file(folder).unwrap();
        assert_eq!(
            run(&host, "def handler(e, c): return 1", json!({})).await,
            Ok(json!(1))
        );
    });
}

#[test]
fn scripts_run_side_by_side() {
    block_on(async {
        let host = Arc::new(host());
        let source = "def handler(e, c): return e['n'] * 2";
        let runs: Vec<_> = (0..8)
            .map(|n| {
                let host = host.clone();
                tokio::spawn(async move { run(&host, source, json!({ "n": n })).await.unwrap() })
            })
            .collect();
        for (n, run) in runs.into_iter().enumerate() {
            let answer = tokio::time::timeout(Duration::from_secs(60), run)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(answer, json!(n * 2));
        }
    });
}

#[test]
fn without_python_the_error_says_so() {
    block_on(async {
        let host = PythonHost::new("python-that-is-not-there", Vec::<(String, String)>::new());
        match run(&host, "def handler(e, c): pass", json!({})).await {
            Err(ScriptError::Unavailable(message)) => {
                assert!(message.contains("there is no `python-that-is-not-there`"))
            }
            other => panic!("{other:?}"),
        }
    });
}
