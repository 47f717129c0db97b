# shellcheck shell=bash
# Sourced by the scripts that use uv: hands it the package index and the certificates that pip is configured
# to use, which it does not read by itself. What is set for uv stays. $python is the interpreter to ask.

# One setting of pip, its environment variable first, as pip itself does.
pip_setting() {
    local variable=PIP_${1^^}
    variable=${variable//-/_}
    echo "${!variable:-$("${python:?}" -m pip config get "global.$1" 2>/dev/null || true)}"
}

index=$(pip_setting index-url)
cert=$(pip_setting cert)
[[ -z $index ]] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$index}
[[ -z $cert ]] || export SSL_CERT_FILE=${SSL_CERT_FILE:-$cert}
