# Runs the test programs given as arguments; $0 is the interpreter. What a reader wants goes to
# stderr, and JUnit's XML to stdout, whether they pass or fail.
set -u
status=0
timeout 1200 "$0" -m pytest -p no:cacheprovider --quiet --tb=short --color=no -rs \
    --junitxml=/tmp/junit.xml --rootdir=. --import-mode=importlib \
    --override-ini=pythonpath=. --override-ini=junit_logging=system-out \
    --override-ini=junit_log_passing_tests=false --override-ini=junit_family=xunit1 \
    "$@" >&2 || status=$?
cat /tmp/junit.xml
exit "$status"
