# The service alone: no sandbox, no embedded PostgreSQL. It needs DB_HOST and a cluster to watch.

FROM python:3.13-slim-trixie AS build
WORKDIR /src
COPY locks/build.txt locks/runtime.txt locks/
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement locks/build.txt
RUN python3 -m venv --without-pip /opt/presenter \
    && /opt/build/bin/uv pip install --python /opt/presenter/bin/python --no-cache --system-certs \
        --compile-bytecode --no-deps --require-hashes --requirements locks/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY presenter presenter
RUN /opt/build/bin/hatchling build -t wheel -d dist \
    && /opt/build/bin/uv pip install --python /opt/presenter/bin/python --no-cache \
        --compile-bytecode --no-deps --no-index dist/*.whl

FROM python:3.13-slim-trixie
LABEL org.opencontainers.image.title="resources-presenter" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/presenter /opt/presenter
ENV PATH=/opt/presenter/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can tell that it is not root.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["presenter"]
CMD ["run"]
