# The service, and what sends its traces: no sandbox, no embedded PostgreSQL. It needs DB_HOST and a cluster to watch.

FROM python:3.13-slim-trixie AS build
WORKDIR /src
COPY locks/build.txt locks/runtime.txt locks/
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement locks/build.txt
RUN python3 -m venv --without-pip /opt/presenter \
    && /opt/build/bin/uv pip install --python /opt/presenter/bin/python --no-cache --system-certs \
        --compile-bytecode --no-deps --require-hashes --requirements locks/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY presenter presenter
RUN /opt/build/bin/hatchling build -t wheel -d dist \
    && /opt/build/bin/uv pip install --python /opt/presenter/bin/python --no-cache \
        --compile-bytecode --no-deps --no-index dist/*.whl

FROM python:3.13-slim-trixie
ARG VERSION=0.1.0 REVISION=unknown
LABEL org.opencontainers.image.title="resources-presenter" \
    org.opencontainers.image.description="A Kubernetes cluster watched into PostgreSQL and served as sorted, filtered pages" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.licenses="Apache-2.0"
# What could install something has no place in what runs.
RUN python3 -m pip uninstall --yes --root-user-action ignore pip && rm -r /usr/local/lib/python3*/ensurepip
COPY --from=build /opt/presenter /opt/presenter
ENV PATH=/opt/presenter/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can tell that it is not root.
USER 65532:65532
EXPOSE 8080
# For Docker; Kubernetes has its own probes. Alive is enough: what it waits for, it tells by /readyz.
HEALTHCHECK --start-period=5m --interval=10s \
    CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('PORT') or 8080}/livez\", timeout=5)"]
STOPSIGNAL SIGTERM
# The process itself, not a shell, gets the signals.
ENTRYPOINT ["presenter"]
CMD ["run"]
