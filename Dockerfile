# The image of `dataflows serve`. Everything that it keeps is in /data: journal, logs, exports.
#
#     docker build --tag dataflows .
#     docker run --rm --publish 127.0.0.1:8000:8000 --volume dataflows:/data --env RUN_TOKEN=... dataflows
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN python -m venv /opt/dataflows && \
    /opt/dataflows/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt ".[serve]"

FROM python:3.13-slim
# unixODBC, for SQL Server; Microsoft's driver is not part of the image. Debian keeps no old versions to pin.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install --yes --no-install-recommends unixodbc && \
    rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin dataflows && \
    install --directory --owner=dataflows --group=dataflows --mode=0700 /data
COPY --from=build /opt/dataflows /opt/dataflows
COPY packaging/healthcheck.py packaging/weekly_fetch.py /opt/dataflows/
ENV PATH=/opt/dataflows/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/data \
    APP_HOST=0.0.0.0 \
    PORT=8000
WORKDIR /data
VOLUME /data
EXPOSE 8000
USER 1000:1000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --start-interval=2s \
    CMD ["python", "/opt/dataflows/healthcheck.py"]
CMD ["dataflows", "serve"]
